import asyncio
import sqlite3

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import database as database_module, writers
from groxy.store.database import Database, set_sqlite_pragmas
from groxy.store.entries import (
    attempts_of,
    last_requests,
)
from groxy.store.kept import Kept, KeptRow, KeptStore
from groxy.store.secrets import InstallationSecret
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, locked, open_writer, request_entry, rows_of

SQLITE = "sqlite+aiosqlite:///groxy.db"


async def ids_of(database):
    return sorted(entry.id for entry in await last_requests(database, 100_000))


async def error_of(written):
    with pytest.raises(GroxyError) as caught:
        await written
    return caught.value


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
    error = await error_of(writer.submit(Group([request_entry(), *requests], [attempt_entry()])))

    assert error.kind is ErrorKind.STORE_DOWN
    assert await ids_of(database) == []
    assert await attempts_of(database, "req_1") == []


async def test_a_request_is_not_written_without_its_attempts(database, writer):
    attempts = [attempt_entry(number=1), attempt_entry(number=1)]

    error = await error_of(writer.submit(Group([request_entry()], attempts)))

    assert error.kind is ErrorKind.STORE_DOWN
    assert await ids_of(database) == []


@pytest.mark.parametrize(
    "requests",
    [TWICE, [TOO_LARGE], [HALF_A_CHARACTER]],
    ids=["the same id twice", "a number too large", "half a character"],
)
async def test_the_write_after_a_failed_one_works(database, writer, requests):
    for _ in range(20):  # more than the pool has connections
        await error_of(writer.submit(Group(requests, [])))

    await writer.submit(Group([request_entry("req_9")], [attempt_entry("req_9")]))

    assert await ids_of(database) == ["req_9"]


async def test_an_error_does_not_repeat_what_was_to_be_written(writer):
    error = await error_of(writer.submit(Group([*TWICE, TOO_LARGE, HALF_A_CHARACTER], [])))

    assert "grok-4.3-fast" not in error.message + error.detail


async def test_an_error_tells_the_log_why_and_the_caller_what_to_do(writer):
    error = await error_of(writer.submit(Group(TWICE, [])))

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

    monkeypatch.setattr(writers, "set_sqlite_pragmas", pragmas)
    lines = [request_entry(f"req_{number}", model_asked="m" * 500) for number in range(200)]
    async with open_writer(sqlite) as writer:
        error = await error_of(writer.submit(Group(lines, [])))
        after_the_failure = await ids_of(sqlite)
        is_broken = False
        await writer.submit(Group(lines, []))

    assert error.kind is ErrorKind.STORE_DOWN
    assert after_the_failure == []
    assert await ids_of(sqlite) == sorted(line.id for line in lines)


async def test_a_disk_that_fills_up_keeps_what_was_written_before(sqlite, tmp_path, monkeypatch):
    def pragmas(connection, record):
        set_sqlite_pragmas(connection, record)
        connection.execute("PRAGMA max_page_count = 40")

    monkeypatch.setattr(writers, "set_sqlite_pragmas", pragmas)
    written = []
    async with open_writer(sqlite) as writer:
        for number in range(1000):
            line = request_entry(f"req_{number:04}", model_asked="m" * 500)
            try:
                await writer.submit(Group([line], []))
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
            error = await error_of(writer.submit(Group([request_entry("req_1")], [])))
        await writer.submit(Group([request_entry("req_2")], []))

    assert error.kind is ErrorKind.STORE_DOWN
    assert "locked" in error.detail
    assert await ids_of(sqlite) == ["req_2"]


async def test_a_lock_that_is_released_in_time_only_delays(sqlite, tmp_path):
    async with open_writer(sqlite) as writer:
        await writer.submit(Group([request_entry("req_1")], []))
        with locked(tmp_path / "groxy.db"):
            written = writer.submit(Group([request_entry("req_2")], []))
            await asyncio.sleep(0.05)
            was_done = written.done()
        await written

    assert not was_done
    assert await ids_of(sqlite) == ["req_1", "req_2"]


async def test_a_group_that_is_being_written_keeps_others_out_until_it_is_done(sqlite, tmp_path):
    """Rows are in their transaction before the thread commits it: nobody may write between."""
    async with open_writer(sqlite) as writer:
        await writer.submit(Group([request_entry("req_1")], []))
        written = writer.submit(Group([request_entry("req_2")], []))
        with locked(tmp_path / "groxy.db"):
            found = rows_of(tmp_path / "groxy.db", "SELECT id FROM requests ORDER BY id")
        await written

    assert found == [("req_1",), ("req_2",)]


async def test_without_a_write_ahead_log_readers_only_delay(sqlite, tmp_path, monkeypatch):
    """As on file systems where SQLite cannot have one."""
    monkeypatch.setattr(
        writers,
        "set_sqlite_pragmas",
        lambda connection, _: connection.execute("PRAGMA busy_timeout=5000"),
    )
    await sqlite.close()
    rows_of(tmp_path / "groxy.db", "PRAGMA journal_mode=DELETE")
    reader = sqlite3.connect(tmp_path / "groxy.db", isolation_level=None)
    async with open_writer(sqlite) as writer:
        await writer.submit(Group([request_entry("req_1")], []))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM requests").fetchone()
        written = writer.submit(Group([request_entry("req_2")], []))
        await asyncio.sleep(0.05)
        was_done = written.done()
        reader.close()
        await written

    assert not was_done
    assert rows_of(tmp_path / "groxy.db", "SELECT id FROM requests ORDER BY id") == [
        ("req_1",),
        ("req_2",),
    ]


async def test_large_things_that_are_kept_are_written_too(sqlite, tmp_path):
    large = KeptRow("resp_1", "reply", "key_1", None, "", "done", 1, 2**40, None, b"x" * 2**20)
    async with open_writer(sqlite) as writer:
        for name in ("req_1", "req_2"):
            await writer.submit(Group([request_entry(name)], [], [large]))

    assert await ids_of(sqlite) == ["req_1", "req_2"]
    assert rows_of(tmp_path / "groxy.db", "SELECT length(sealed) FROM kept") == [(2**20,)]


async def test_readers_do_not_disturb_the_writer(sqlite, tmp_path):
    reader = sqlite3.connect(tmp_path / "groxy.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM requests").fetchone()
    async with open_writer(sqlite) as writer:
        await asyncio.wait_for(writer.submit(Group([request_entry()], [])), 2)
    reader.close()

    assert await ids_of(sqlite) == ["req_1"]


async def test_every_commit_is_synced(sqlite, monkeypatch):
    synced = []

    def pragmas(connection, record):
        set_sqlite_pragmas(connection, record)
        synced.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    monkeypatch.setattr(writers, "set_sqlite_pragmas", pragmas)
    async with open_writer(sqlite) as writer:
        for name in ("req_1", "req_2"):
            await writer.submit(Group([request_entry(name)], []))

    full = 2
    assert set(synced) == {full}


@pytest.mark.postgres
async def test_a_postgres_that_is_away_is_store_down_until_it_is_back(postgres, tmp_path):
    database = await Database.open(postgres.empty_database(), tmp_path)
    async with open_writer(database) as writer:
        await writer.submit(Group([request_entry("req_1")], []))
        postgres.stop()
        try:
            lost = Group([request_entry("req_2")], [])
            errors = [await error_of(writer.submit(lost)) for _ in "ab"]
        finally:
            postgres.start()
        await writer.submit(Group([request_entry("req_3")], []))
    found = await ids_of(database)
    await database.close()

    assert [error.kind for error in errors] == [ErrorKind.STORE_DOWN] * 2
    assert found == ["req_1", "req_3"]


# ------------------------------------------------------------------------------------- closing


async def test_closing_finishes_what_was_handed_in(sqlite):
    writer = entry_writer(sqlite)
    written = [writer.submit(Group([request_entry(f"req_{number}")], [])) for number in range(50)]

    await writer.close()

    assert len(await ids_of(sqlite)) == 50
    await asyncio.gather(*written)


async def test_closing_lets_go_of_the_file(sqlite, tmp_path):
    writer = entry_writer(sqlite)
    await writer.submit(Group([request_entry()], []))
    await writer.close()
    await sqlite.close()

    # SQLite's last connection takes the log along.
    assert [path.name for path in tmp_path.iterdir()] == ["groxy.db"]


async def test_lines_are_written_though_nobody_waits(sqlite):
    async with open_writer(sqlite) as writer:
        writer.submit(Group([request_entry("req_1")], [])).cancel()
        await writer.submit(Group([request_entry("req_2")], []))

    assert await ids_of(sqlite) == ["req_1", "req_2"]


# ------------------------------------------------------------------- what is kept beside an entry


def kept_row(database, tmp_path, content: bytes = b"content", name: str = "resp_1") -> KeptRow:
    store = KeptStore(database, InstallationSecret.of(tmp_path))
    far = 2**45
    return store.row(
        Kept(
            id=name,
            kind="reply",
            owner="key_1",
            parent=None,
            account_id="a",
            state="done",
            created_ms=1,
            expires_ms=far,
            content=content,
        )
    )


async def test_what_is_kept_is_there_with_its_entry(database, writer, tmp_path):
    row = kept_row(database, tmp_path)
    await writer.submit(Group([request_entry()], [attempt_entry()], [row]))
    store = KeptStore(database, InstallationSecret.of(tmp_path))
    found = await store.get("resp_1", "key_1", "reply")
    assert found is not None
    assert found.content == b"content"


async def test_what_is_kept_is_gone_with_an_entry_that_was_not_written(database, writer, tmp_path):
    await error_of(writer.submit(Group(TWICE, [], [kept_row(database, tmp_path)])))
    store = KeptStore(database, InstallationSecret.of(tmp_path))
    assert await store.get("resp_1", "key_1", "reply") is None


async def test_the_newest_of_the_same_id_is_kept(database, writer, tmp_path):
    for content in (b"old", b"new"):
        await writer.submit(Group([], [], [kept_row(database, tmp_path, content)]))
    store = KeptStore(database, InstallationSecret.of(tmp_path))
    found = await store.get("resp_1", "key_1", "reply")
    assert found is not None
    assert found.content == b"new"
