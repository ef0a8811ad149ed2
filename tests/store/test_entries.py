import asyncio
import sqlite3
from contextlib import asynccontextmanager

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import database as database_module, entries, tables
from groxy.store.database import Database, set_sqlite_pragmas
from groxy.store.entries import (
    AttemptEntry,
    RequestEntry,
    attempts_of,
    entry_writer,
    last_requests,
)
from tests.store.rows import attempt_entry, locked, request_entry, rows_of

SQLITE = "sqlite+aiosqlite:///groxy.db"


@asynccontextmanager
async def open_writer(database):
    writer = entry_writer(database)
    try:
        yield writer
    finally:
        await writer.close()


@pytest.fixture
async def writer(database):
    async with open_writer(database) as opened:
        yield opened


@pytest.fixture
async def sqlite(tmp_path):
    opened = await Database.open(SQLITE, tmp_path)
    yield opened
    await opened.close()


async def ids_of(database):
    return sorted(entry.id for entry in await last_requests(database, 100_000))


async def error_of(written):
    with pytest.raises(GroxyError) as caught:
        await written
    return caught.value


# --------------------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("entry", "table"), [(RequestEntry, tables.requests), (AttemptEntry, tables.attempts)]
)
def test_the_fields_of_an_entry_are_the_columns_in_order(entry, table):
    assert list(entry._fields) == [column.name for column in table.columns]


@pytest.mark.parametrize("entry", [RequestEntry, AttemptEntry])
async def test_fields_in_another_order_are_noticed_at_the_start(sqlite, monkeypatch, entry):
    monkeypatch.setattr(entry, "_fields", entry._fields[::-1])

    with pytest.raises(TypeError, match="not in the order"):
        entry_writer(sqlite)


# ------------------------------------------------------------------------------ there and back


async def test_lines_come_back_as_they_were_written(database, writer):
    request = request_entry(is_stream=False, usage_estimated=True, attempts=2)
    attempts = [attempt_entry(number=1, usage_estimated=False), attempt_entry(number=2)]

    await writer.submit([request], attempts)

    assert await last_requests(database, 10) == [request]
    assert await attempts_of(database, request.id) == attempts


async def test_truth_comes_back_as_truth(database, writer):
    await writer.submit([request_entry()], [attempt_entry()])
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
        {"model_served": "m" * 100_000},
    ],
    ids=["large numbers", "SQL", "Unicode", "full columns", "a long name"],
)
async def test_every_value_that_fits_comes_back(database, writer, changes):
    request = request_entry(**changes)

    await writer.submit([request], [])

    assert await last_requests(database, 1) == [request]


async def test_the_newest_requests_come_first(database, writer):
    ids = [f"req_{number:03}" for number in range(20)]
    await writer.submit([request_entry(name) for name in ids[10:]], [])
    await writer.submit([request_entry(name) for name in ids[:10]], [])

    newest = [entry.id for entry in await last_requests(database, 5)]

    assert newest == ids[:14:-1]


async def test_attempts_are_those_of_one_request_in_their_order(database, writer):
    numbers = list(range(1, 13))
    lines = [attempt_entry("req_1", number) for number in reversed(numbers)]
    await writer.submit([request_entry()], [*lines, attempt_entry("req_2"), attempt_entry("req_")])

    assert [line.number for line in await attempts_of(database, "req_1")] == numbers


async def test_a_request_that_nobody_knows_has_no_attempts(database):
    assert await attempts_of(database, "req_1' OR '1'='1") == []


async def test_writing_nothing_is_no_error(database, writer):
    await writer.submit([], [])

    assert await ids_of(database) == []


async def test_a_database_in_memory_keeps_books_too(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///:memory:", tmp_path)
    async with open_writer(database) as writer:
        await writer.submit([request_entry()], [attempt_entry()])
    found = await last_requests(database, 10), await attempts_of(database, "req_1")
    await database.close()

    assert found == ([request_entry()], [attempt_entry()])


# ------------------------------------------------------------------------------------ failures

TWICE = [request_entry("req_2"), request_entry("req_2")]
NO_OUTCOME = request_entry("req_2", outcome=None)
TOO_LARGE = request_entry("req_2", cost_ticks=2**63)
HALF_A_CHARACTER = request_entry("req_2", model_served="\ud83d")


@pytest.mark.parametrize(
    "requests",
    [TWICE, [NO_OUTCOME], [TOO_LARGE], [HALF_A_CHARACTER]],
    ids=["the same id twice", "a hole", "a number too large", "half a character"],
)
async def test_a_group_with_a_line_that_does_not_fit_is_not_written_at_all(
    database, writer, requests
):
    error = await error_of(writer.submit([request_entry(), *requests], [attempt_entry()]))

    assert error.kind is ErrorKind.STORE_DOWN
    assert await ids_of(database) == []
    assert await attempts_of(database, "req_1") == []


async def test_a_request_is_not_written_without_its_attempts(database, writer):
    attempts = [attempt_entry(number=1), attempt_entry(number=1)]

    error = await error_of(writer.submit([request_entry()], attempts))

    assert error.kind is ErrorKind.STORE_DOWN
    assert await ids_of(database) == []


@pytest.mark.parametrize(
    "requests",
    [TWICE, [TOO_LARGE], [HALF_A_CHARACTER]],
    ids=["the same id twice", "a number too large", "half a character"],
)
async def test_the_write_after_a_failed_one_works(database, writer, requests):
    for _ in range(20):  # more than the pool has connections
        await error_of(writer.submit(requests, []))

    await writer.submit([request_entry("req_9")], [attempt_entry("req_9")])

    assert await ids_of(database) == ["req_9"]


async def test_an_error_does_not_repeat_what_was_to_be_written(writer):
    error = await error_of(writer.submit([*TWICE, TOO_LARGE, HALF_A_CHARACTER], []))

    assert "grok-4.3-fast" not in error.message + error.detail


async def test_an_error_tells_the_log_why_and_the_caller_what_to_do(writer):
    error = await error_of(writer.submit(TWICE, []))

    assert error.retry_after_s == 1
    assert "requests" in error.detail
    assert error.message == (
        "The reply could not be entered in the books, so it is withheld. Try again."
    )


@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"])
async def test_a_full_or_read_only_disk_is_store_down_until_it_is_mended(
    sqlite, monkeypatch, pragma
):
    is_broken = True

    def pragmas(connection, record):
        set_sqlite_pragmas(connection, record)
        if is_broken:
            connection.execute(f"PRAGMA {pragma}")

    monkeypatch.setattr(entries, "set_sqlite_pragmas", pragmas)
    lines = [request_entry(f"req_{number}", model_asked="m" * 500) for number in range(200)]
    async with open_writer(sqlite) as writer:
        error = await error_of(writer.submit(lines, []))
        after_the_failure = await ids_of(sqlite)
        is_broken = False
        await writer.submit(lines, [])

    assert error.kind is ErrorKind.STORE_DOWN
    assert after_the_failure == []
    assert await ids_of(sqlite) == sorted(line.id for line in lines)


async def test_a_disk_that_fills_up_keeps_what_was_written_before(sqlite, tmp_path, monkeypatch):
    def pragmas(connection, record):
        set_sqlite_pragmas(connection, record)
        connection.execute("PRAGMA max_page_count = 40")

    monkeypatch.setattr(entries, "set_sqlite_pragmas", pragmas)
    written = []
    async with open_writer(sqlite) as writer:
        for number in range(1000):
            line = request_entry(f"req_{number:04}", model_asked="m" * 500)
            try:
                await writer.submit([line], [])
            except GroxyError:
                break
            written.append(line.id)

    assert 0 < len(written) < 1000
    assert await ids_of(sqlite) == written
    assert rows_of(tmp_path / "groxy.db", "PRAGMA integrity_check") == [("ok",)]


async def test_a_locked_database_is_store_down_until_it_is_released(sqlite, tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "_SQLITE_BUSY_MS", 50)
    async with open_writer(sqlite) as writer:
        with locked(tmp_path / "groxy.db"):
            error = await error_of(writer.submit([request_entry("req_1")], []))
        await writer.submit([request_entry("req_2")], [])

    assert error.kind is ErrorKind.STORE_DOWN
    assert "locked" in error.detail
    assert await ids_of(sqlite) == ["req_2"]


async def test_a_lock_that_is_released_in_time_only_delays(sqlite, tmp_path):
    async with open_writer(sqlite) as writer:
        await writer.submit([request_entry("req_1")], [])
        with locked(tmp_path / "groxy.db"):
            written = writer.submit([request_entry("req_2")], [])
            await asyncio.sleep(0.05)
            was_done = written.done()
        await written

    assert not was_done
    assert await ids_of(sqlite) == ["req_1", "req_2"]


async def test_readers_do_not_disturb_the_writer(sqlite, tmp_path):
    reader = sqlite3.connect(tmp_path / "groxy.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM requests").fetchone()
    async with open_writer(sqlite) as writer:
        await asyncio.wait_for(writer.submit([request_entry()], []), 2)
    reader.close()

    assert await ids_of(sqlite) == ["req_1"]


async def test_every_commit_is_synced(sqlite, monkeypatch):
    synced = []

    def pragmas(connection, record):
        set_sqlite_pragmas(connection, record)
        synced.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    monkeypatch.setattr(entries, "set_sqlite_pragmas", pragmas)
    async with open_writer(sqlite) as writer:
        await writer.submit([request_entry()], [])

    full = 2
    assert synced == [full]


@pytest.mark.postgres
async def test_a_postgres_that_is_away_is_store_down_until_it_is_back(postgres, tmp_path):
    database = await Database.open(postgres.empty_database(), tmp_path)
    async with open_writer(database) as writer:
        await writer.submit([request_entry("req_1")], [])
        postgres.stop()
        try:
            errors = [await error_of(writer.submit([request_entry("req_2")], [])) for _ in "ab"]
        finally:
            postgres.start()
        await writer.submit([request_entry("req_3")], [])
    found = await ids_of(database)
    await database.close()

    assert [error.kind for error in errors] == [ErrorKind.STORE_DOWN] * 2
    assert found == ["req_1", "req_3"]


# ------------------------------------------------------------------------------------- closing


async def test_closing_finishes_what_was_handed_in(sqlite):
    writer = entry_writer(sqlite)
    written = [writer.submit([request_entry(f"req_{number}")], []) for number in range(50)]

    await writer.close()

    assert len(await ids_of(sqlite)) == 50
    await asyncio.gather(*written)


async def test_closing_lets_go_of_the_file(sqlite, tmp_path):
    writer = entry_writer(sqlite)
    await writer.submit([request_entry()], [])
    await writer.close()
    await sqlite.close()

    # SQLite's last connection takes the log along.
    assert [path.name for path in tmp_path.iterdir()] == ["groxy.db"]


async def test_lines_are_written_though_nobody_waits(sqlite):
    async with open_writer(sqlite) as writer:
        writer.submit([request_entry("req_1")], []).cancel()
        await writer.submit([request_entry("req_2")], [])

    assert await ids_of(sqlite) == ["req_1", "req_2"]
