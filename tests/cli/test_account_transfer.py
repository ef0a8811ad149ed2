"""`groxy account import` and `export`."""

import json
import re

import pytest

from groxy.cli import account_transfer
from groxy.core.errors import ErrorKind, GroxyError
from tests.cli.accounts import PlayedDesk, seat, shown

STARTED = {"task_id": "job_1", "total": 2}


def ended(kind="done", **result):
    return {"type": kind, "result": result}


def played(monkeypatch, *events):
    """Let the import be a task with these events."""
    return seat(monkeypatch, account_transfer, PlayedDesk(STARTED, events=events))


# ---------------------------------------------------------------------------------------- import


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


@pytest.mark.parametrize(
    ("file", "media_type"),
    [
        ("keys.json", "application/json"),
        ("KEYS.TXT", "text/plain"),
        ("keys.csv", "application/octet-stream"),
        ("keys", "application/octet-stream"),
    ],
)
def test_a_file_is_sent_as_it_is_with_the_type_that_its_name_tells(
    groxy, tmp_path, monkeypatch, file, media_type
):
    (tmp_path / file).write_bytes(b"xai-\xff\r\n")
    desk = played(monkeypatch, ended(added=1))

    assert groxy("account", "import", file).exit_code == 0

    (asked,) = desk.asked
    assert (asked.method, asked.path) == ("POST", "/import")
    assert (asked.body, asked.content_type) == (b"xai-\xff\r\n", media_type)


def test_an_import_is_a_task_unless_it_is_strict(groxy, monkeypatch):
    whole = {"added": 2}
    desk = PlayedDesk(STARTED, whole, events=[ended(added=2)])
    seat(monkeypatch, account_transfer, desk)

    usual = groxy("account", "import", "-", "--pool", "basic", stdin="x\n")
    strict = groxy("account", "import", "-", "--strict", "--dry-run", stdin="x\n")

    assert usual.stdout == strict.stdout == "Added 2 accounts.\n"
    assert [asked.query for asked in desk.asked] == [
        {"dry_run": False, "strict": False, "pool": "basic", "async": True},
        {"dry_run": True, "strict": True, "pool": None, "async": False},
    ]


def test_the_pool_is_for_those_that_name_none(groxy):
    drafts = [{"token": "xai-one-0123456789", "name": "a"}, {"token": "xai-two-0123456789"}]
    drafts[1] |= {"name": "b", "pool": "heavy"}

    groxy("account", "import", "-", "--pool", "basic", stdin=json.dumps(drafts))

    assert [shown(groxy, name)["pool"] for name in "ab"] == ["basic", "heavy"]


def test_what_was_there_already_is_no_error(groxy, monkeypatch):
    played(monkeypatch, ended(added=0, duplicate_count=3, error_count=0, errors=[]))

    done = groxy("account", "import", "-", stdin="x\n")

    assert (done.exit_code, done.stdout) == (0, "Added 0 accounts.\nAlready there: 3.\n")


def test_an_import_that_was_stopped_says_so_and_fails(groxy, monkeypatch):
    played(monkeypatch, ended("cancelled", added=1, cancelled=True))

    done = groxy("account", "import", "-", stdin="x\n")

    assert done.exit_code == 1
    assert done.stdout == "Added 1 account.\nThe import was stopped before its end.\n"


def test_an_import_that_fails_on_the_way_is_told_in_the_servers_words(groxy, monkeypatch):
    played(monkeypatch, {"type": "error", "error": "The store is away."})

    error = groxy("account", "import", "-", stdin="x\n").exception

    assert isinstance(error, GroxyError)
    assert error.message == "The store is away."


def test_all_bad_lines_are_counted_where_only_some_are_told(groxy, monkeypatch):
    fault = {"line": 7, "field": "upstream", "message": "There is no upstream \x1b[31m."}
    played(monkeypatch, ended(added=0, errors=[fault], error_count=1500))

    done = groxy("account", "import", "-", stdin="x\n")

    assert done.exit_code == 1
    assert "Not added: 1,500 bad lines." in done.stdout
    assert "\x1b" not in done.stdout


# ---------------------------------------------------------------------------------------- export


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


def test_an_export_has_what_its_filters_leave(groxy, two):
    groxy("account", "add", "x", "--pool", "basic", stdin="xai-key-0123456789\n")
    groxy("account", "disable", "two")

    def names(*filters):
        return [one["name"] for one in json.loads(groxy("account", "export", *filters).stdout)]

    assert names("--tag", "fast") == ["one"]
    assert names("--pool", "basic") == names("--upstream", "xai") == ["x"]
    assert names("--status", "disabled") == ["two"]
    assert names("--tag", "none") == []


def test_an_export_that_breaks_off_leaves_the_file_as_it_was(groxy, tmp_path, monkeypatch):
    class Breaking(PlayedDesk):
        async def stream(self, path, **query):
            yield b"[half"
            raise GroxyError(ErrorKind.STREAM_BROKEN, "It broke off.")

    seat(monkeypatch, account_transfer, Breaking())
    (tmp_path / "out.json").write_text("old")

    error = groxy("account", "export", "--output", "out.json").exception

    assert isinstance(error, GroxyError)
    assert error.kind is ErrorKind.STREAM_BROKEN
    assert (tmp_path / "out.json").read_text() == "old"
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.json"]


def test_an_export_into_a_folder_is_refused_before_anything_is_asked(groxy, tmp_path):
    error = groxy("account", "export", "--output", str(tmp_path)).exception

    assert isinstance(error, GroxyError)
    assert error.param == "output"
