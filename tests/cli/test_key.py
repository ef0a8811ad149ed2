import re

import pytest

from groxy.cli import user
from groxy.core.errors import ErrorKind, GroxyError
from tests.cli.told import told

KEY = re.compile(r"sk-grok-[\w-]{20,}")


def id_of_only_key(groxy):
    found = re.findall(r"key_\w+", groxy("key", "list").output)
    assert len(found) == 1
    return found[0]


def test_a_key_is_printed_when_it_is_made_and_never_again(groxy):
    made = groxy("key", "create", "--name", "alice").output.strip()

    assert KEY.fullmatch(made)
    listed = groxy("key", "list").output
    assert made not in listed
    assert "alice" in listed
    assert made[-4:] in listed


def test_a_key_in_the_database_is_a_digest_only(groxy, data_dir):
    made = groxy("key", "create").output.strip()

    stored = b"".join(path.read_bytes() for path in data_dir.iterdir() if "db" in path.name)
    assert stored
    assert made.encode() not in stored


def test_an_operators_key_has_its_own_form(groxy):
    assert groxy("key", "create", "--role", "operator").output.startswith("adm-")


def test_a_revoked_key_is_shown_as_revoked(groxy):
    groxy("key", "create")
    revoked = groxy("key", "revoke", id_of_only_key(groxy))

    assert revoked.exit_code == 0
    assert "revoked" in groxy("key", "list").output


def test_revoking_twice_is_an_error_that_shows_where_ids_are(groxy):
    groxy("key", "create")
    key_id = id_of_only_key(groxy)
    groxy("key", "revoke", key_id)

    error = groxy("key", "revoke", key_id).exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND
    assert "groxy key list" in error.message


def only_row(groxy):
    (row,) = [line for line in groxy("key", "list").output.splitlines() if "key_" in line]
    return row


def test_a_key_has_a_user_a_grant_and_an_end(groxy):
    user_id = told(user.app, "create", "--name", "Ada", "--email", "ada@example.com")
    other_id = told(user.app, "create", "--name", "Bob")
    made = groxy(
        *("key", "create", "--user", "ada@example.com", "--model", "grok-4*", "--endpoint", "chat"),
        *("--ip", "10.0.0.0/8", "--cap-day", "5", "--cap-total", "0.05", "--rpm", "60"),
        *("--tag", "laptop", "--expires", "90d"),
    )

    assert KEY.fullmatch(made.output.strip())
    assert user_id in only_row(groxy)
    assert "in force until" in only_row(groxy)
    assert "key_" in groxy("key", "list", "--user", user_id).output
    assert "key_" not in groxy("key", "list", "--user", other_id).output


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (("--cap-day", "NaN"), "--cap-day"),
        (("--cap-week", "-1"), "--cap-week"),
        (("--cap-month", "1e309"), "--cap-month"),
        (("--cap-total", "true"), "--cap-total"),
        (("--rpm", str(2**63)), "rates.requests"),
        (("--tpm", "-1"), "rates.tokens"),
        (("--endpoint", "admin"), "endpoints"),
        (("--ip", "localhost"), "ips"),
        (("--expires", "1999-01-01"), "--expires"),
    ],
)
def test_what_cannot_be_in_a_grant_is_refused_and_named(groxy, options, param):
    error = groxy("key", "create", *options).exception

    assert isinstance(error, GroxyError)
    assert error.param == param
    assert "key_" not in groxy("key", "list").output


def test_a_key_is_disabled_enabled_and_rotated(groxy):
    made = groxy("key", "create").output.strip()
    key_id = id_of_only_key(groxy)
    assert groxy("key", "disable", key_id).exit_code == 0
    assert "disabled by the operator" in only_row(groxy)
    assert groxy("key", "enable", key_id).exit_code == 0
    assert "in force" in only_row(groxy)

    rotated = groxy("key", "rotate", key_id, "--grace", "24h").output.strip()
    assert KEY.fullmatch(rotated)
    assert rotated != made
    assert id_of_only_key(groxy) == key_id
    assert rotated[-4:] in only_row(groxy)
    error = groxy("key", "rotate", key_id, "--grace", "52w").exception
    assert isinstance(error, GroxyError)
    assert error.param == "grace"
