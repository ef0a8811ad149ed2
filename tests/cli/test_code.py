import json

import pytest

from groxy.core.errors import GroxyError


def made(groxy, *options):
    done = groxy("code", "create", "5", "--json", *options)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def states(groxy, *options):
    told = json.loads(groxy("code", "list", "--json", *options).stdout)
    return [one["state"] for one in told]


def test_codes_are_printed_one_a_line(groxy):
    done = groxy("code", "create", "2.50", "--count", "3", "--expires", "2099-01-01")

    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("GROX-") and len(line) == 24 for line in lines)
    assert "3 codes of 2.5 USD" in done.stderr
    listed = groxy("code", "list").stdout
    assert listed.count("2099-01-01") == 3
    assert not any(line in listed for line in lines)


def test_codes_are_revoked_one_and_all(groxy):
    told = made(groxy, "--count", "3")

    assert groxy("code", "revoke", told["ids"][0]).stdout == f"Revoked {told['ids'][0]}.\n"
    assert states(groxy, "--batch", told["batch"]).count("revoked") == 1
    assert groxy("code", "revoke", "--batch", told["batch"]).stdout == "Revoked 2 codes.\n"
    assert states(groxy) == ["revoked"] * 3


@pytest.mark.parametrize("words", [(), ("code_1", "--batch", "batch_1")])
def test_one_thing_is_revoked_at_a_time(groxy, words):
    done = groxy("code", "revoke", *words)

    assert isinstance(done.exception, GroxyError)


@pytest.mark.parametrize("usd", ["0", "NaN", "1e3"])
def test_codes_are_worth_something(groxy, usd):
    assert groxy("code", "create", usd).exit_code != 0
    assert states(groxy) == []
