import asyncio
import json
import re

import pytest

from groxy.cli import account_list
from groxy.cli.context import loaded_settings, opened_store
from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.audit import list_audit

ADDRESS = ("--upstream", "openai_compatible", "--base-url", "http://127.0.0.1:9/v1")


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


def test_with_no_account_the_sandbox_is_listed(groxy):
    assert "sandbox" in groxy("account", "list").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", "--upstream", "nobody"), "no upstream"),
        (("x", "--upstream", "openai_compatible"), "base_url"),
        (("x", *ADDRESS, "--option", "novalue"), "name=value"),
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


def test_testing_an_account_out_of_reach_fails_with_the_reason(groxy):
    groxy("account", "add", "far", *ADDRESS)

    tested = groxy("account", "test", "far")

    assert tested.exit_code == 1
    assert "upstream_unavailable" in tested.output


def test_testing_an_account_that_works_says_ok(groxy):
    assert groxy("account", "test", "sandbox").output == "sandbox: ok\n"


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (("two words", *ADDRESS), "k", "The name"),
        (("x", "--upstream", "openai_compatible", "--base-url", "localhost:9"), "k", "--base-url"),
        (("x", *ADDRESS[:2], "--base-url", "http://h:99999/v1"), "k", "--base-url"),
        (("x",), "two words", "The key"),
        (("x",), "k\x07ey", "The key"),
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


# --------------------------------------------------------------------------- through the admin API


def shown(groxy, name):
    """Return an account as `show --json` has it."""
    return json.loads(groxy("account", "show", name, "--json").stdout)


@pytest.fixture
def two(groxy):
    """Two accounts at a sandbox in this process."""
    for name, tag in (("one", "fast"), ("two", "slow")):
        added = groxy("account", "add", name, "--upstream", "sandbox", "--tag", tag)
        assert added.exit_code == 0, added.exception


def test_every_term_can_be_given_when_an_account_is_added(groxy):
    terms = "--tag fast --tag eu --weight 3 --priority -2 --max-in-flight 4 --rpm 60 --tpm 9000"
    more = "--model grok-4* --quota fast=400/2h --quota heavy=30/1d --pool super"
    proxy = "--proxy-url http://user:proxy-secret@proxy.test:3128"
    added = groxy("account", "add", "full", *ADDRESS, *f"{terms} {more} {proxy}".split())

    assert (added.exit_code, added.stdout) == (0, "Added full.\n")
    account = shown(groxy, "full")
    assert account["tags"] == ["fast", "eu"]
    assert (account["weight"], account["priority"], account["max_in_flight"]) == (3, -2, 4)
    assert (account["rpm"], account["tpm"], account["pool"]) == (60, 9000, "super")
    assert account["models"] == ["grok-4*"]
    assert account["quotas"] == {"fast": "400/2h", "heavy": "30/1d"}
    assert account["proxy"] == "proxy.test:3128"


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


def test_an_empty_value_takes_a_term_back(groxy):
    address = ("--upstream", "sandbox", "--proxy-url", "http://proxy.test:1")
    groxy("account", "add", "x", *address, "--tag", "a", "--quota", "fast=1/1m", "--model", "m")
    empty = ("--tag", "", "--quota", "", "--model", "", "--proxy-url", "")

    assert groxy("account", "edit", "x", *empty).exit_code == 0

    account = shown(groxy, "x")
    assert (account["tags"], account["quotas"], account["models"]) == ([], {}, [])
    assert account["proxy"] == ""


def test_a_new_key_is_taken_from_a_file(groxy, tmp_path):
    groxy("account", "add", "x", stdin="xai-old-0123456789\n")
    (tmp_path / "key").write_text("xai-new-key-9876543210\n")

    assert groxy("account", "edit", "x", "--api-key-file", "key").exit_code == 0
    assert shown(groxy, "x")["token"].endswith("43210")


@pytest.mark.parametrize("arguments", [("edit", "one"), ("tag", "one"), ("refresh",)])
def test_an_order_that_says_nothing_is_refused(groxy, arguments):
    error = groxy("account", *arguments).exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody"),
        ("edit", "nobody", "--weight", "2"),
        ("remove", "nobody"),
        ("enable", "nobody"),
        ("disable", "nobody"),
        ("clear", "nobody"),
        ("test", "nobody"),
        ("tag", "nobody", "--add", "x"),
    ],
)
def test_an_account_that_is_not_there_is_an_error(groxy, two, arguments):
    error = groxy("account", *arguments).exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize("order", ["remove", "enable", "disable"])
def test_one_that_is_missing_among_several_fails_the_command_but_not_the_others(groxy, two, order):
    done = groxy("account", order, "one", "nobody")

    assert done.exit_code == 1
    assert "1 account." in done.stdout
    assert "1 of those named were not there" in done.stderr


def test_disabled_accounts_are_listed_as_such_until_they_are_enabled(groxy, two):
    assert groxy("account", "disable", "one", "two").stdout == "Disabled 2 accounts.\n"
    assert groxy("account", "list", "--status", "disabled").stdout.count("disabled (") == 2

    assert groxy("account", "enable", "one").stdout == "Enabled one.\n"
    assert "one" in groxy("account", "list", "--status", "active").stdout


def test_a_rest_that_nobody_would_learn_of_is_refused(groxy, two):
    for arguments in (("cool", "one", "--for", "60"), ("clear", "one", "--model", "grok-4.3")):
        error = groxy("account", *arguments).exception
        assert isinstance(error, GroxyError)
        assert "--url" in error.message

    assert groxy("account", "clear", "one", "two").exit_code == 0


def test_tags_come_and_go_and_the_list_is_filtered_by_them(groxy, two):
    tagged = groxy("account", "tag", "one", "two", "--add", "eu", "--remove", "slow")

    assert tagged.stdout == "one: fast, eu\ntwo: eu\n"
    listed = groxy("account", "list", "--tag", "fast").stdout
    assert "one" in listed
    assert "two" not in listed


def test_a_refresh_says_how_many_went_well(groxy, two):
    assert groxy("account", "refresh", "--all").stdout == "Refreshed 2 of 2 accounts.\n"
    assert shown(groxy, "one")["checked_at"] > 0


def test_a_refresh_that_fails_names_the_account_and_why(groxy, two):
    groxy("account", "add", "far", *ADDRESS)

    refreshed = groxy("account", "refresh", "one", "far", "nobody")

    assert refreshed.exit_code == 1
    assert "Refreshed 1 of 2 accounts." in refreshed.stdout
    assert re.search(r"far .*upstream_unavailable", refreshed.stdout)
    assert "1 of those named are not there" in refreshed.stderr


# --------------------------------------------------------------------------------- lists and files


def test_a_list_as_json_is_one_array(groxy, two):
    accounts = json.loads(groxy("account", "list", "--json").stdout)

    assert {account["name"] for account in accounts} == {"one", "two"}
    assert json.loads(groxy("account", "list", "--json", "--tag", "none").stdout) == []


def test_a_list_of_many_pages_has_everyone_once(groxy, two, monkeypatch):
    monkeypatch.setattr(account_list, "_PAGE_SIZE", 1)
    groxy("account", "add", "three", "--upstream", "sandbox")

    lines = groxy("account", "list").stdout.splitlines()
    accounts = json.loads(groxy("account", "list", "--json").stdout)

    assert lines[0].split()[:2] == ["name", "upstream"]
    assert {line.split()[0] for line in lines[1:]} == {"one", "two", "three"}
    assert len(lines) == 4
    assert len(accounts) == 3


def test_lines_of_text_are_imported_and_the_bad_ones_named(groxy, tmp_path):
    (tmp_path / "keys.txt").write_text(
        "# ours\nxai-one-0123456789 first\nopenrouter sk-or-two-012345 second\nnobody-knows-it\n"
    )

    dry = groxy("account", "import", "keys.txt", "--dry-run")
    assert dry.exit_code == 1
    assert "Would add 2 accounts." in dry.stdout
    assert "sandbox" in groxy("account", "list").stdout, "nothing was added"

    done = groxy("account", "import", "keys.txt")
    assert done.exit_code == 1
    assert "Added 2 accounts." in done.stdout
    assert re.search(r"^4 +upstream ", done.stdout, re.MULTILINE)
    assert "Not added: 1 bad line." in done.stdout

    again = groxy("account", "import", "keys.txt", "--json")
    assert json.loads(again.stdout)["duplicate_count"] == 2


def test_a_strict_import_adds_nothing_when_a_line_is_bad(groxy):
    lines = "xai-one-0123456789\nnobody-knows-it\n"

    error = groxy("account", "import", "-", "--strict", stdin=lines).exception

    assert isinstance(error, GroxyError)
    assert error.message.startswith("Line 2:")
    assert "sandbox" in groxy("account", "list").stdout


@pytest.mark.parametrize("content", [None, b" \n"])
def test_a_file_without_accounts_is_told(groxy, tmp_path, content):
    if content is not None:
        (tmp_path / "keys.txt").write_bytes(content)

    error = groxy("account", "import", "keys.txt").exception

    assert isinstance(error, GroxyError)
    assert "keys.txt" in error.message


def test_an_export_with_secrets_is_for_its_owner_and_comes_back_whole(groxy, tmp_path):
    groxy("account", "add", "x", "--weight", "3", "--tag", "eu", stdin="xai-key-0123456789\n")
    (tmp_path / "out.json").write_text("old, and readable by all")

    exported = groxy("account", "export", "--secrets", "--output", "out.json")

    file = tmp_path / "out.json"
    assert (exported.exit_code, exported.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes())[0]["token"] == "xai-key-0123456789"
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.json"]

    groxy("account", "remove", "x")
    assert "Added 1 account." in groxy("account", "import", "out.json").stdout
    account = shown(groxy, "x")
    assert (account["weight"], account["tags"]) == (3, ["eu"])


def test_an_export_without_secrets_has_none(groxy):
    groxy("account", "add", "x", stdin="xai-key-0123456789abcdef\n")

    for form in ("json", "text"):
        exported = groxy("account", "export", "--format", form).stdout
        assert "xai" in exported
        assert "xai-key-0123456789abcdef" not in exported


def test_an_export_that_fails_leaves_the_file_as_it_was(groxy, tmp_path, monkeypatch, two):
    file = tmp_path / "out.json"
    file.write_text("old")
    wrong = groxy("account", "export", "--status", "asleep", "--output", "out.json").exception
    nowhere = groxy("account", "export", "--output", "missing/out.json").exception

    assert isinstance(wrong, GroxyError)
    assert isinstance(nowhere, GroxyError)
    assert "missing/out.json" in nowhere.message
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_what_a_command_did_is_in_the_audit_by_the_command_line(groxy, data_dir, two):
    async def acts():
        async with opened_store(loaded_settings(None, data_dir)) as store:
            return await list_audit(store.database, limit=10)

    groxy("account", "disable", "one")

    newest = asyncio.run(acts())[0]
    assert newest.action == "account.disable"
    assert "command line" in newest.actor


@pytest.mark.redis
def test_with_redis_a_rest_outlives_the_command_that_ordered_it(groxy, two, redis, monkeypatch):
    monkeypatch.setenv("GROXY_STATE__URL", redis.url)

    cooled = groxy("account", "cool", "one", "--for", "600")
    assert cooled.stdout == "one rests for 600 s.\n", cooled.exception

    listed = groxy("account", "list", "--status", "cooling").stdout
    assert "one" in listed
    assert "two" not in listed
    groxy("account", "clear", "one")
    assert "one" not in groxy("account", "list", "--status", "cooling").stdout
