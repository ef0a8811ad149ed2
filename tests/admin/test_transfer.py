import asyncio
import json

import pytest

from groxy.core.terms import Terms
from groxy.store.accounts import AccountDraft, add_accounts
from tests.admin.office import events_of, key_of, open_office

OR_KEY = "sk-or-v1-" + "0" * 40
TEXT = {"content-type": "text/plain; charset=utf-8"}


async def imported(office, body, query="", **more):
    return (await office.post("/import", body, query, **more)).json


# -------------------------------------------------------------------------------------- coming in


async def test_a_list_of_credentials_and_objects_is_imported(office):
    answer = await imported(
        office,
        [
            key_of("one"),
            {"token": OR_KEY, "name": "second", "pool": "super", "tags": ["t"], "weight": 2},
        ],
        "pool=basic",
    )

    assert answer == {
        "status": "success",
        "added": 2,
        "duplicates": [],
        "duplicate_count": 0,
        "errors": [],
        "error_count": 0,
        "dry_run": False,
        "cancelled": False,
    }
    second = office.account("second")
    assert (second.upstream.name, second.pool.value) == ("openrouter", "super")
    assert second.terms == Terms(tags=("t",), weight=2)
    assert sorted(one.pool.value for one in office.desk.directory.accounts) == ["basic", "super"]


async def test_lists_by_pool_are_imported_as_the_contract_has_them(office):
    body = {"basic": [key_of("a")], "heavy": [{"token": key_of("b"), "tags": ["t"]}, key_of("c")]}

    assert (await imported(office, body))["added"] == 3
    pools = sorted(one.pool.value for one in office.desk.directory.accounts)
    assert pools == ["basic", "heavy", "heavy"]


async def test_lines_of_text_are_imported(office):
    text = (
        f"# my accounts\n\n{key_of('a')}\r\nopenrouter {OR_KEY} the second one\n"
        f"  {key_of('b')}   named  \nxai {key_of('c')}\n"
    )

    answer = await imported(office, text.encode(), headers=TEXT)

    assert answer["added"] == 4
    assert office.account("the second one").upstream.name == "openrouter"
    assert office.account("named").credentials.api_key == key_of("b")


async def test_good_lines_are_added_although_others_are_bad(office):
    (there,) = await office.add("there")
    body = [
        key_of("there"),
        {"token": key_of("a"), "name": "there"},
        "gsk-unknown",
        {"token": "xai-1", "weight": "heavy"},
        key_of("b"),
        7,
        key_of("b"),
    ]

    answer = await imported(office, body)

    assert answer["added"] == 1
    assert answer["duplicate_count"] == 2
    assert answer["duplicates"][0] == {"line": 1, "id": there.id, "name": "there"}
    assert answer["duplicates"][1]["line"] == 7
    told = [(fault["line"], fault["field"]) for fault in answer["errors"]]
    assert told == [(2, "name"), (3, "upstream"), (4, "weight"), (6, "")]
    assert answer["error_count"] == 4


async def test_a_strict_import_with_a_bad_line_adds_nothing_and_names_the_first(office):
    answer = await office.post("/import", [key_of("a"), "gsk-1", "gsk-2"], "strict=true")

    assert (answer.status, answer.error["code"]) == (400, "import_refused")
    assert answer.error["param"] == "2.upstream"
    assert "2 lines" in answer.error["message"]
    assert office.names == []


async def test_a_dry_run_says_what_would_be_and_adds_nothing(office):
    await office.add("there")
    body = [
        key_of("there"),
        key_of("a"),
        key_of("a"),
        {"token": key_of("b"), "name": "there"},
        {"token": key_of("c"), "name": "new"},
        {"token": key_of("d"), "name": "new"},
    ]

    dry = await imported(office, body, "dry_run=true")
    names = office.names
    wet = await imported(office, body)

    assert names == ["there"]
    counts = ("added", "duplicate_count", "error_count")
    assert [dry[name] for name in counts] == [wet[name] for name in counts] == [2, 2, 2]
    assert (dry["dry_run"], wet["dry_run"]) == (True, False)


async def test_a_name_that_another_process_took_meanwhile_fails_alone(office, tmp_path):
    taken = [{"token": key_of(f"n{number}"), "name": f"n{number}"} for number in range(7)]
    folder = tmp_path / "same"
    folder.mkdir()
    async with open_office(folder) as other:
        # The directory does not know of it: it was not loaded since.
        draft = AccountDraft(upstream="xai", api_key=key_of("thief"), name="n3")
        await add_accounts(other.desk.database, other.desk.secret, [draft])

        answer = await imported(other, taken)

    assert answer["added"] == 6
    assert [(fault["line"], fault["field"]) for fault in answer["errors"]] == [(4, "name")]


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, "no_tokens"),
        (b"[]", {}, "no_tokens"),
        (b"# nothing\n\n", TEXT, "no_tokens"),
        (b"[1,", {}, "invalid_json"),
        (b'"xai-1"', {"content-type": "application/json"}, "invalid_value"),
        (b'{"sup": ["xai-1"]}', {}, "invalid_pool"),
        (b'{"basic": "xai-1"}', {}, "invalid_value"),
        (b"\xff\xfe", TEXT, "invalid_value"),
    ],
)
async def test_what_is_no_import_is_refused(office, body, headers, code):
    answer = await office.post("/import", body, headers=headers)

    assert (answer.status, answer.error["code"]) == (400, code)


async def test_an_import_has_its_own_bound(office, monkeypatch):
    monkeypatch.setattr("groxy.admin.transfer.MAX_IMPORTED", 2)

    answer = await office.post("/import", ["xai-1", "xai-2", "xai-3"])

    assert (answer.status, answer.error["code"]) == (400, "too_many_tokens")


async def test_a_long_import_goes_on_as_a_job_and_tells_how_far_it_is(office):
    body = [f"xai-{number:040}" for number in range(1_200)]

    started = (await office.post("/import", body, "async=true")).json
    stream = await office.get(f"/batch/{started['task_id']}/stream")
    events = events_of(stream.body)

    assert started["total"] == 1_200
    assert events[-1]["type"] == "done"
    assert events[-1]["processed"] == events[-1]["ok"] == 1_200
    assert events[-1]["result"]["added"] == 1_200
    assert len(office.desk.directory) == 1_200
    (line,) = await office.audited("account.import")
    assert len(line.after["accounts"]) == 100


async def test_reading_a_long_import_lets_others_have_their_turn(office):
    body = [f"xai-{number:040}" for number in range(3_000)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    answer = await imported(office, body, "dry_run=true")
    task.cancel()

    assert answer["added"] == 3_000
    assert turns >= 12


# -------------------------------------------------------------------------------------- going out


async def test_an_export_comes_back_as_it_went(office, tmp_path):
    await office.add("one", pool="super", terms=Terms(tags=("t",), rpm=5, quotas={"fast": "4/2h"}))
    await office.add(
        "two", upstream="openai_compatible", api_key="", base_url="http://127.0.0.1:9/v1"
    )
    await office.add("three", proxy_url="http://me:hush@proxy.test:1")
    office.declare("declared")
    folder = tmp_path / "new"
    folder.mkdir()

    export = await office.get("/export", "secrets=true")
    async with open_office(folder) as other:
        answer = await imported(other, export.body)

        assert answer["added"] == 4
        for name in office.names:
            before, after = office.account(name), other.account(name)
            assert before.credentials == after.credentials
            assert (before.pool, before.terms, before.proxy_url) == (
                after.pool,
                after.terms,
                after.proxy_url,
            )
    assert "attachment" in export.headers["content-disposition"]


async def test_an_export_of_text_comes_back_as_far_as_text_can_tell(office, tmp_path):
    await office.add("one")
    await office.add("two words", api_key="xai-of-two-words-0123456789")
    await office.add(
        "none", upstream="openai_compatible", api_key="", base_url="http://127.0.0.1:9"
    )
    folder = tmp_path / "new"
    folder.mkdir()

    export = await office.get("/export", "secrets=true&format=text")
    async with open_office(folder) as other:
        answer = await imported(other, export.body, headers=TEXT)

        assert (answer["added"], answer["error_count"]) == (2, 0)
        assert other.names == ["one", "two words"]
    assert b"# openai_compatible none" in export.body


@pytest.mark.parametrize("form", ["json", "text"])
async def test_an_export_has_no_secrets_unless_they_are_asked_for(office, form):
    await office.add("one", proxy_url="http://me:hush@proxy.test:1")
    await office.add(
        "two",
        upstream="cloudflare",
        api_key="cf-" + "1" * 30,
        options={"account_id": "a" * 32, "gateway_id": "g"},
    )

    export = await office.get("/export", f"format={form}")

    assert key_of("one").encode() not in export.body
    assert b"cf-" + b"1" * 30 not in export.body
    assert b"hush" not in export.body
    assert office.account("one").hint.encode() in export.body
    assert await office.audited() == []


async def test_an_export_with_secrets_is_written_down_without_them(office):
    (one,) = await office.add("one")

    await office.get("/export", "secrets=true")

    (line,) = await office.audited("account.export")
    assert line.after == {"accounts": [one.id]}
    assert key_of("one") not in str(line)


async def test_masked_credentials_do_not_come_in_again(office):
    await office.add("one")
    export = await office.get("/export")

    answer = await imported(office, export.body)

    assert (answer["added"], answer["error_count"]) == (0, 1)
    assert "masked" in answer["errors"][0]["message"]


async def test_an_export_is_filtered_as_the_list_is(office):
    await office.add("one", pool="basic")
    await office.add("two", terms=Terms(tags=("t",)))
    office.declare("sandbox", "built in")

    everything = json.loads((await office.get("/export")).body)
    some = json.loads((await office.get("/export", "tag=t")).body)
    none = json.loads((await office.get("/export", "q=zzz")).body)

    assert sorted(one["name"] for one in everything) == ["one", "two"]
    assert [one["name"] for one in some] == ["two"]
    assert none == []
