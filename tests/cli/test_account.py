import asyncio
import json

import pytest

from groxy.cli.context import loaded_settings, opened_store
from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.audit import list_audit
from tests.cli.accounts import ADDRESS, shown


def test_an_added_account_is_listed_without_its_key(groxy, data_dir):
    added = groxy("account", "add", "first", "--upstream", "xai", stdin="xai-secret-key\n")

    assert added.exit_code == 0
    listed = groxy("account", "list").output
    assert "first" in listed
    assert "api.x.ai" in listed
    assert "xai-secret-key" not in listed


def test_the_key_is_sealed_in_the_database(groxy, data_dir):
    groxy("account", "add", "first", stdin="xai-secret-key\n")

    stored = b"".join(path.read_bytes() for path in data_dir.iterdir() if "db" in path.name)
    assert b"first" in stored
    assert b"xai-secret-key" not in stored


def test_the_key_can_come_from_a_file(groxy, tmp_path):
    (tmp_path / "key").write_text("xai-from-file\n")

    assert groxy("account", "add", "filed", "--api-key-file", "key").exit_code == 0


def test_the_key_can_come_from_standard_input(groxy):
    added = groxy("account", "add", "piped", "--api-key-file", "-", stdin="xai-piped\n")

    assert added.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", "--upstream", "nobody"), "no upstream"),
        (("x", "--upstream", "openai_compatible"), "base_url"),
        (("x", *ADDRESS, "--option", "odd=1"), "odd"),
    ],
)
def test_a_bad_account_is_refused_with_what_is_wrong(groxy, arguments, words):
    error = groxy("account", "add", *arguments, stdin="k\n").exception

    assert isinstance(error, GroxyError)
    assert words in error.message


def test_a_name_can_be_taken_only_once(groxy):
    groxy("account", "add", "same", *ADDRESS)

    error = groxy("account", "add", "same", *ADDRESS).exception

    assert isinstance(error, GroxyError)
    assert "'same'" in error.message


def test_a_removed_account_is_gone(groxy):
    groxy("account", "add", "brief", *ADDRESS)

    assert groxy("account", "remove", "brief").exit_code == 0
    assert "brief" not in groxy("account", "list").output


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (("two words", *ADDRESS), "k", "The name"),
        (("x", *ADDRESS[:2], "--base-url", "localhost:9"), "k", "--base-url"),
        (("x",), "two words", "The key"),
        (("x", "--upstream", "sandbox", "--option", "tokens_per_s=fast"), "", "tokens_per_s"),
    ],
)
def test_what_a_gateway_would_stumble_over_is_refused(groxy, arguments, key, words):
    error = groxy("account", "add", *arguments, stdin=f"{key}\n").exception

    assert isinstance(error, GroxyError)
    assert words in error.message
    assert groxy("account", "list").output.count("sandbox") >= 1, "nothing was stored"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_key_file_that_cannot_be_read_is_told(groxy, tmp_path, content):
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    error = groxy("account", "add", "x", *ADDRESS[:4], "--api-key-file", str(file)).exception

    assert isinstance(error, GroxyError)
    assert str(file) in error.message


def test_an_account_of_the_settings_keeps_its_name(groxy, tmp_path):
    (tmp_path / "groxy.toml").write_text('[[accounts]]\nname = "mine"\nupstream = "sandbox"\n')

    error = groxy("account", "add", "mine", "--upstream", "sandbox").exception

    assert isinstance(error, GroxyError)
    assert "'mine'" in error.message


def test_without_a_name_one_is_made_and_told(groxy):
    added = groxy("account", "add", stdin="xai-0123456789\n")

    name = added.stdout.splitlines()[-1].removesuffix(".").split()[-1]
    assert shown(groxy, name)["upstream"] == "xai"


def test_a_key_that_tells_no_upstream_needs_one_named(groxy):
    error = groxy("account", "add", "x", stdin="nobody-knows-this\n").exception

    assert "`upstream`" in error.message
    assert "nobody-knows-this" not in error.message


def test_the_same_key_again_is_told_with_the_name_it_has(groxy):
    groxy("account", "add", "first", stdin="xai-0123456789\n")

    error = groxy("account", "add", "second", stdin="xai-0123456789\n").exception

    assert error.kind is ErrorKind.CONFLICT
    assert "'first'" in error.message
    assert "xai-0123456789" not in error.message


def test_an_edit_changes_what_was_given_and_nothing_else(groxy, two):
    edited = groxy("account", "edit", "one", "--weight", "7", "--name", "uno")

    assert edited.stdout == "Changed uno.\n"
    account = shown(groxy, "uno")
    assert (account["weight"], account["tags"]) == (7, ["fast"])


def test_a_new_key_is_taken_from_a_file(groxy, tmp_path):
    groxy("account", "add", "x", stdin="xai-old-0123456789\n")
    (tmp_path / "key").write_text("xai-new-key-9876543210\n")

    assert groxy("account", "edit", "x", "--api-key-file", "key").exit_code == 0
    assert shown(groxy, "x")["token"].endswith("43210")


@pytest.mark.parametrize("arguments", [("edit", "one"), ("tag", "one")])
def test_an_order_that_says_nothing_is_refused(groxy, arguments):
    error = groxy("account", *arguments).exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize(
    "arguments",
    [
        ("edit", "nobody", "--weight", "2"),
        ("remove", "nobody"),
        ("tag", "nobody", "--add", "x"),
    ],
)
def test_an_account_that_is_not_there_is_an_error(groxy, two, arguments):
    error = groxy("account", *arguments).exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND


def test_one_that_is_missing_among_several_fails_the_command_but_not_the_others(groxy, two):
    done = groxy("account", "remove", "one", "nobody")

    assert done.exit_code == 1
    assert done.stdout == "Removed 1 account.\n"
    assert "1 of those named were not there" in done.stderr


def test_an_account_can_be_removed_by_its_id(groxy, two):
    account_id = shown(groxy, "one")["id"]

    assert groxy("account", "remove", account_id).exit_code == 0
    assert [one["name"] for one in json.loads(groxy("account", "list", "--json").stdout)] == ["two"]


def test_tags_come_and_go_and_the_list_is_filtered_by_them(groxy, two):
    tagged = groxy("account", "tag", "one", "two", "--add", "eu", "--remove", "slow")

    assert tagged.stdout == "one: fast, eu\ntwo: eu\n"
    listed = groxy("account", "list", "--tag", "fast").stdout
    assert "one" in listed
    assert "two" not in listed


def test_what_a_command_did_is_in_the_audit_by_the_command_line(groxy, data_dir, two):
    async def acts():
        async with opened_store(loaded_settings(None, data_dir)) as store:
            return await list_audit(store.database, limit=10)

    groxy("account", "disable", "one")

    newest = asyncio.run(acts())[0]
    assert newest.action == "account.disable"
    assert "command line" in newest.actor
