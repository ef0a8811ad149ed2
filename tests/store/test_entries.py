import time

import pytest

from groxy.core.ids import new_request_id
from groxy.store import entries
from groxy.store.database import Database
from groxy.store.entries import (
    RequestEntry,
    RequestFilter,
    attempts_of,
    find_request,
    last_requests,
    request_of,
    search_requests,
)
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, open_writer, request_entry

SQLITE = "sqlite+aiosqlite:///groxy.db"
NEW_WORDS = ("reply_id", "app_title", "app_url", "finish_reason", "upstream_dialect", "route")


async def ids_of(database):
    return sorted(entry.id for entry in await last_requests(database, 100_000))


# ------------------------------------------------------------------------------ there and back


async def test_lines_come_back_as_they_were_written(database, writer):
    request = request_entry(is_stream=False, usage_estimated=True, attempts=2)
    attempts = [attempt_entry(number=1, usage_estimated=False), attempt_entry(number=2)]

    await writer.submit(Group([request], attempts))

    assert await last_requests(database, 10) == [request]
    assert await attempts_of(database, request.id) == attempts


async def test_truth_comes_back_as_truth(database, writer):
    await writer.submit(Group([request_entry()], [attempt_entry()]))
    (request,), (attempt,) = await last_requests(database, 1), await attempts_of(database, "req_1")

    flags = [request.is_stream, request.usage_estimated, attempt.usage_estimated]

    assert [flag is expected for flag, expected in zip(flags, [True, False, True], strict=True)]
    assert all(isinstance(flag, bool) for flag in flags)


@pytest.mark.parametrize(
    "changes",
    [
        {"cost_ticks": 2**63 - 1, "duration_us": 2**63 - 1, "input_tokens": 2**63 - 1},
        {"model_asked": "'; DROP TABLE requests; --", "model_served": '"quoted"\n\ttwice'},
        {"model_asked": "größer 模型 🚀", "model_sent": ""},
        {"account_id": "a" * 64, "outcome": "o" * 40, "key_id": "k" * 40},
        {"reply_id": "r" * 128, "app_title": "模" * 128, "app_url": "u" * 256},
        {"finish_reason": "f" * 32, "upstream_dialect": "d" * 16},
        dict.fromkeys(NEW_WORDS, ""),
        {"model_served": "m" * 100_000},
    ],
    ids=[
        *("large numbers", "SQL", "Unicode", "full columns", "full words", "more full words"),
        *("no words", "a long name"),
    ],
)
async def test_every_value_that_fits_comes_back(database, writer, changes):
    request = request_entry(**changes)

    await writer.submit(Group([request], []))

    assert await last_requests(database, 1) == [request]


async def test_the_newest_requests_come_first(database, writer):
    ids = [f"req_{number:03}" for number in range(20)]
    await writer.submit(Group([request_entry(name) for name in ids[10:]], []))
    await writer.submit(Group([request_entry(name) for name in ids[:10]], []))

    newest = [entry.id for entry in await last_requests(database, 5)]

    assert newest == ids[:14:-1]


async def test_attempts_are_those_of_one_request_in_their_order(database, writer):
    numbers = list(range(1, 13))
    lines = [attempt_entry("req_1", number) for number in reversed(numbers)]
    await writer.submit(
        Group([request_entry()], [*lines, attempt_entry("req_2"), attempt_entry("req_")])
    )

    assert [line.number for line in await attempts_of(database, "req_1")] == numbers


async def test_a_request_that_nobody_knows_has_no_attempts(database):
    assert await attempts_of(database, "req_1' OR '1'='1") == []


async def test_writing_nothing_is_no_error(database, writer):
    await writer.submit(Group([], []))

    assert await ids_of(database) == []


async def test_a_database_in_memory_keeps_books_too(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///:memory:", tmp_path)
    async with open_writer(database) as writer:
        await writer.submit(Group([request_entry()], [attempt_entry()]))
    found = await last_requests(database, 10), await attempts_of(database, "req_1")
    await database.close()

    assert found == ([request_entry()], [attempt_entry()])


# ------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize("wanted", ["req_2", "resp_2"])
async def test_a_request_is_found_by_its_id_and_by_that_of_its_reply(database, writer, wanted):
    request = request_entry("req_2", reply_id="resp_2")
    attempts = [attempt_entry("req_2", 1), attempt_entry("req_2", 2)]
    others = [request_entry("req_1", reply_id="resp_1"), request_entry("req_3", reply_id="")]
    await writer.submit(Group([*others, request], [*attempts, attempt_entry("req_1")]))

    assert await find_request(database, "key_1", wanted) == (request, attempts)


@pytest.mark.parametrize("wanted", ["req_1", "chatcmpl-1"])
async def test_a_request_of_another_key_is_not_found(database, writer, wanted):
    await writer.submit(Group([request_entry("req_1")], [attempt_entry("req_1")]))

    assert await find_request(database, "key_2", wanted) is None


@pytest.mark.parametrize(
    "wanted",
    ["", "req_", "REQ_1", "req_1\0", "\ud83d", "%", "' OR '1'='1", "r" * 1_000_000, "模"],
)
async def test_nothing_is_found_for_an_id_that_nobody_has(database, writer, wanted):
    await writer.submit(Group([request_entry("req_1", reply_id="")], []))

    assert await find_request(database, "key_1", wanted) is None


async def test_of_replies_with_the_same_id_the_newest_is_found(database, writer):
    await writer.submit(Group([request_entry(f"req_{number}") for number in (2, 3, 1)], []))

    found = await find_request(database, "key_1", "chatcmpl-1")

    assert found is not None
    assert (found[0].id, found[1]) == ("req_3", [])


async def test_an_id_of_a_request_goes_before_the_same_id_of_a_reply(database, writer):
    await writer.submit(
        Group([request_entry("req_1"), request_entry("req_2", reply_id="req_1")], [])
    )

    found = await find_request(database, "key_1", "req_1")

    assert found is not None
    assert found[0].id == "req_1"


async def test_only_the_newest_requests_are_searched_for_a_reply(database, writer, monkeypatch):
    monkeypatch.setattr(entries, "_SEARCHED_REQUESTS", 3)
    lines = [request_entry(f"req_{number}", reply_id=f"resp_{number}") for number in range(5)]
    await writer.submit(Group(lines, []))

    found = [await find_request(database, "key_1", f"resp_{number}") for number in range(5)]

    assert [line is not None for line in found] == [False, False, True, True, True]
    assert await find_request(database, "key_1", "req_0") is not None


async def test_the_operator_finds_a_request_of_any_key_with_its_attempts(database, writer):
    request, attempts = request_entry("req_1"), [attempt_entry("req_1", n) for n in (1, 2)]
    await writer.submit(Group([request, request_entry("req_2", key_id="key_2")], attempts))

    assert await request_of(database, "req_1") == (request, attempts)
    assert await request_of(database, "req_2") == (request_entry("req_2", key_id="key_2"), [])


@pytest.mark.parametrize("wanted", ["", "req_", "chatcmpl-1", "req_1\0", "\ud83d", "r" * 1_000_000])
async def test_the_operator_finds_no_request_that_never_was(database, writer, wanted):
    await writer.submit(Group([request_entry("req_1")], []))

    assert await request_of(database, wanted) is None


# ----------------------------------------------------------------------------------- searching

NOON_MS = 1_752_840_000_000


def request_id(number: int) -> str:
    """Return an id as core.ids makes it, of one request a second from noon on."""
    return f"req_{NOON_MS + number * 1_000:011x}{number:016x}"


def request_line(number: int, **changes) -> RequestEntry:
    return request_entry(request_id(number), at_ms=NOON_MS + number * 1_000, **changes)


async def numbers_of(database, **wanted):
    """Return which of the lines made by `request_line` a search finds."""
    found = await search_requests(database, RequestFilter(**wanted))
    return [int(line.id[-16:], 16) for line in found.requests]


async def test_a_search_for_nothing_special_finds_all_newest_first(database, writer):
    lines = [request_line(number) for number in range(5)]
    await writer.submit(Group(lines, []))

    found = await search_requests(database, RequestFilter())

    assert found.requests == lines[::-1]
    assert (found.next, found.is_complete) == ("", True)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"key_id": "key_2"}, [1]),
        ({"model": "asked"}, [2]),
        ({"model": "served"}, [3]),
        ({"account_id": "acc_2"}, [5, 4]),
        ({"account_id": "acc_3"}, [5]),
        ({"outcome": "bad"}, [6]),
        ({"status": 418}, [7]),
        ({"status": 418, "key_id": "key_2"}, []),
        ({"since_ms": NOON_MS + 7_000}, [8, 7]),
        ({"since_ms": NOON_MS + 6_001}, [8, 7]),
        ({"until_ms": NOON_MS + 2_000}, [1, 0]),
        ({"since_ms": NOON_MS + 1_000, "until_ms": NOON_MS + 3_000}, [2, 1]),
        ({"key_id": "' OR '1'='1"}, []),
        ({"model": "a\0"}, []),
        ({"account_id": "\ud83d"}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
async def test_a_search_finds_what_fits(database, writer, wanted, numbers):
    lines = [
        request_line(0),
        request_line(1, key_id="key_2"),
        request_line(2, model_asked="asked"),
        request_line(3, model_served="served"),
        request_line(4, account_id="acc_2"),
        request_line(5, account_id="acc_3", attempts=2),
        request_line(6, outcome="bad"),
        request_line(7, status=418),
        request_line(8, attempts=2),
    ]
    tried = [
        attempt_entry(request_id(5), 1, account_id="acc_2"),
        attempt_entry(request_id(5), 2, account_id="acc_3"),
        attempt_entry(request_id(8), 1, account_id="acc_1"),
    ]
    await writer.submit(Group(lines, tried))

    assert await numbers_of(database, **wanted) == numbers


async def test_pages_of_a_search_go_on_where_the_last_one_ended(database, writer):
    lines = [request_line(number, key_id=f"key_{number % 2}") for number in range(10)]
    await writer.submit(Group(lines, []))
    wanted, before, pages = RequestFilter(key_id="key_1"), "", []
    for _ in range(3):
        page = await search_requests(database, wanted, before=before, limit=2)
        pages.append([line.id for line in page.requests])
        before = page.next
        assert page.is_complete

    assert pages == [
        [request_id(9), request_id(7)],
        [request_id(5), request_id(3)],
        [request_id(1)],
    ]
    assert before == ""


async def test_a_full_last_page_says_that_there_is_no_more(database, writer):
    await writer.submit(Group([request_line(number) for number in range(3)], []))

    found = await search_requests(database, RequestFilter(), limit=3)

    assert (len(found.requests), found.next) == (3, "")


async def test_a_search_stops_after_so_many_lines_and_says_where(database, writer, monkeypatch):
    monkeypatch.setattr(entries, "_SEARCHED_LINES", 4)
    lines = [request_line(number, key_id=f"key_{number % 5}") for number in range(10)]
    await writer.submit(Group(lines, []))
    wanted, before, searches = RequestFilter(key_id="key_1"), "", []
    for _ in range(3):
        found = await search_requests(database, wanted, before=before)
        searches.append(([line.id for line in found.requests], found.is_complete))
        before = found.next

    assert searches == [([request_id(6)], False), ([], False), ([request_id(1)], True)]
    assert before == ""


async def test_a_search_returns_at_least_one_and_at_most_500(database, writer):
    await writer.submit(Group([request_line(number) for number in range(502)], []))

    few, many = [await search_requests(database, RequestFilter(), limit=n) for n in (0, 10_000)]

    assert (len(few.requests), len(many.requests)) == (1, 500)
    assert many.next == request_id(2)


def test_ids_of_requests_begin_with_their_time():
    """A search by time relies on it."""
    before, made, after = time.time_ns() // 1_000_000, new_request_id(), time.time_ns() // 1_000_000

    assert entries.request_id_at(before) <= made < entries.request_id_at(after + 1)
