import re

from groxy.core.errors import ErrorKind, GroxyError

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
