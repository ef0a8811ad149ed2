from typing import Any

import msgspec
import pytest

from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.admin.window import CALLER_KEY, opened
from tests.routing.fleet import account
from tests.store.rows import attempt_entry, request_entry

ROUTE = {
    "strategy": "quota",
    "of": 3,
    "home": "acc_2",
    "candidates": [
        {"account": "acc_2", "score": 0.5, "model": "grok-4.3", "dialect": "responses"},
        {"account": "acc_1", "score": 1.25, "model": "grok-4.3", "dialect": "chat"},
    ],
    "passed": [["acc_gone", "cooling"]],
}


def request_id(at_ms, number=1):
    return f"req_{at_ms:011x}{number:016x}"


async def write(window, requests, attempts=()):
    writer = entry_writer(window.desk.database)
    await writer.submit(Group(requests, attempts))
    await writer.close()


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path, account("acc_1", name="first"), account("acc_2")) as it:
        yield it


async def test_the_whole_trail_of_a_request_is_told(window):
    entry = request_entry(
        "req_a", attempts=2, cost_ticks=12_300_000, route=msgspec.json.encode(ROUTE).decode()
    )
    failed = attempt_entry(
        "req_a", 1, account_id="acc_gone", outcome="upstream_unavailable", status=500, cost_ticks=0
    )
    await write(window, [entry], [failed, attempt_entry("req_a", 2, cost_ticks=1)])

    told = (await window.get("/requests/req_a")).json

    request = told["request"]
    assert (request["id"], request["outcome"], request["status"]) == ("req_a", "ok", 200)
    assert request["account"] == {"id": "acc_1", "name": "first"}
    assert (request["cost_ticks"], request["cost_usd"]) == (12_300_000, "0.00123")
    assert (request["user_id"], request["charge_usd"], request["held_usd"]) == ("", "0", "0")
    assert (request["price_version"], request["is_cut"]) == ("", False)
    assert request["tokens"] == {
        "input": 11,
        "cached": 7,
        "output": 13,
        "reasoning": 5,
        "estimated": False,
    }
    assert (request["first_event_ms"], request["duration_ms"]) == (345.678, 4567.89)
    assert [(one["number"], one["outcome"], one["status"]) for one in told["attempts"]] == [
        (1, "upstream_unavailable", 500),
        (2, "ok", 200),
    ]
    assert told["attempts"][0]["account"] == {"id": "acc_gone", "name": None}
    assert [one["cost_usd"] for one in told["attempts"]] == ["0", "0.0000000001"]


async def test_how_the_route_was_chosen_is_told_with_names(window):
    text = msgspec.json.encode(ROUTE).decode()
    await write(window, [request_entry("req_a", route=text)])

    route = (await window.get("/requests/req_a")).json["route"]

    assert (route["strategy"], route["of"]) == ("quota", 3)
    assert route["home"] == {"id": "acc_2", "name": "acc_2"}
    assert route["candidates"][1] == {
        "account": {"id": "acc_1", "name": "first"},
        "score": 1.25,
        "model": "grok-4.3",
        "dialect": "chat",
    }
    assert route["passed"] == [{"account": {"id": "acc_gone", "name": None}, "why": "cooling"}]


@pytest.mark.parametrize("route", ["", "{", "[]", '{"candidates": 1}', '{"of": "x"}'])
async def test_a_route_that_was_not_noted_is_null(window, route):
    await write(window, [request_entry("req_a", route=route)])

    assert (await window.get("/requests/req_a")).json["route"] is None


@pytest.mark.parametrize("asked", ["req_5", "chatcmpl-5", "resp_5", "msg_5", "cmpl-5"])
async def test_a_request_is_found_by_its_replys_own_id_too(window, asked):
    await write(window, [request_entry("req_5")])

    assert (await window.get(f"/requests/{asked}")).json["request"]["id"] == "req_5"


@pytest.mark.parametrize("asked", ["req_none", "x" * 128])
async def test_a_request_that_is_not_there_is_404(window, asked):
    answer = await window.get(f"/requests/{asked}")

    assert (answer.status, answer.error["code"]) == (404, "request_not_found")


async def test_requests_come_newest_first_page_by_page(window):
    ids = [request_id(1_790_000_000_000 + number) for number in range(5)]
    await write(window, [request_entry(one) for one in ids])

    pages, before = [], ""
    while True:
        page = (await window.get("/requests", f"limit=2&before={before}")).json
        pages.append([line["id"] for line in page["requests"]])
        assert page["complete"] is True
        before = page["next"]
        if before is None:
            break

    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


AT = 1_790_000_000_000


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3, 2, 1]),
        ("model=grok-9", [2]),
        ("account=acc_2", [3]),
        ("account=first", [4, 2, 1]),
        ("account=acc_nobody", []),
        ("outcome=upstream_timeout", [1]),
        ("status=504", [1]),
        (f"key={CALLER_KEY}", [4]),
        ("key=key_of_a_caller", [4]),
        (f"since={AT + 3}", [4, 3]),
        (f"until={AT + 3}", [2, 1]),
        (f"since={AT + 2}&until={AT + 4}&account=first", [2]),
    ],
)
async def test_requests_are_found_by(window, query, numbers):
    ids = {number: request_id(AT + number) for number in (1, 2, 3, 4)}
    changes: dict[int, dict[str, Any]] = {
        1: {"outcome": "upstream_timeout", "status": 504},
        2: {"model_asked": "grok-9"},
        3: {"account_id": "acc_2"},
        4: {"key_id": "key_of_a_caller"},
    }
    entries = [request_entry(ids[number], at_ms=AT + number, **changes[number]) for number in ids]
    attempts = [attempt_entry(entry.id, account_id=entry.account_id) for entry in entries]
    await write(window, entries, attempts)

    found = (await window.get("/requests", query)).json["requests"]

    assert [line["id"] for line in found] == [ids[number] for number in numbers]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_value"),
        ("limit=501", "invalid_value"),
        ("status=abc", "invalid_status"),
        ("since=-1", "invalid_value"),
        ("until=99999999999999999999", "invalid_value"),
    ],
)
async def test_a_search_that_cannot_be_is_refused(window, query, code):
    answer = await window.get("/requests", query)

    assert (answer.status, answer.error["code"]) == (400, code)
    assert answer.error["param"] == query.split("=")[0]
