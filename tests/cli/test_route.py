import json

import pytest

from groxy.core.errors import GroxyError


def test_a_dry_run_says_who_would_be_asked(groxy):
    shown = groxy("route", "grok-4")

    assert shown.exit_code == 0
    row = next(line.split() for line in shown.stdout.splitlines() if "sandbox" in line)
    assert row[:4] == ["1", "sandbox", "sandbox", "heavy"]
    assert "1 of 1 accounts could serve grok-4 now." in shown.stdout


def test_what_stands_against_an_account_is_told_in_words(groxy):
    for name in ("on", "off"):
        groxy("account", "add", name, "--upstream", "sandbox")
    groxy("account", "disable", "off")

    rows = groxy("route", "grok-4").stdout.splitlines()

    assert next(row.split() for row in rows if " on " in row)[0] == "1"
    assert "the operator took it out of service" in next(row for row in rows if " off " in row)
    assert "1 of 2 accounts could serve grok-4 now." in rows


def test_a_model_that_nobody_serves_is_status_1_with_the_refusal(groxy):
    shown = groxy("route", "no-such-model")

    assert shown.exit_code == 1
    assert "It would be refused: " in shown.stderr


def test_json_is_what_the_admin_api_answers(groxy):
    told = json.loads(groxy("route", "grok-4", "--json").stdout)

    assert told["served"] is True
    assert told["order"] == ["sandbox"]


@pytest.mark.parametrize("key", ["key_nobody", "sk-grok-nobody"])
def test_a_key_that_nobody_knows_is_refused_without_being_repeated(groxy, key):
    error = groxy("route", "grok-4", "--key", key).exception

    assert isinstance(error, GroxyError)
    assert key not in error.message


def test_without_redis_it_says_what_it_cannot_know(groxy):
    assert "--url asks that one" in groxy("route", "grok-4").stderr
