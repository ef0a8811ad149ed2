import asyncio
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.entries import attempts_of, last_requests
from groxy.store.kept import KeptRow
from groxy.store.replay import UnwritableError, replaying_writer
from groxy.store.writing import Group, Statements, write
from tests.store.rows import attempt_entry, locked, request_entry


@asynccontextmanager
async def open_writer(database):
    writer = replaying_writer(database)
    try:
        yield writer
    finally:
        await writer.close()


@pytest.fixture
async def writer(database):
    async with open_writer(database) as opened:
        yield opened


def kept_row(name="rep_1", **changes):
    row = KeptRow(name, "reply", "key_1", None, "acc_1", "done", 1, 2, None, b"sealed")
    return row._replace(**changes)


def group_of(*names, kept=()):
    """Return a group of requests with two attempts each."""
    attempts = [attempt_entry(name, number) for name in names for number in (1, 2)]
    return Group([request_entry(name, attempts=2) for name in names], attempts, list(kept))


async def books_of(database):
    """Return the attempts of each request, by its id, and all kept rows, by theirs."""
    found: dict[str, list[int]] = {entry.id: [] for entry in await last_requests(database, 10_000)}
    async with database.transaction() as connection:
        lines = (await connection.execute(sa.select(tables.attempts))).all()
        rows = (await connection.execute(sa.select(tables.kept))).all()
    for line in sorted(lines, key=lambda line: line.number):
        found[line.request_id].append(line.number)
    return found, {row.id: bytes(row.sealed) for row in rows}


async def test_what_was_never_written_is_there_afterwards_as_it_was_given(database, writer):
    entry, attempt = request_entry("a", route='{"why": "ж"}'), attempt_entry("a")
    await writer.replay([Group([entry], [attempt], [kept_row()])])

    assert await last_requests(database, 10) == [entry]
    assert await attempts_of(database, "a") == [attempt]
    assert (await books_of(database))[1] == {"rep_1": b"sealed"}


async def test_what_was_written_already_is_there_once_and_as_it_was(database, writer):
    await writer.submit(group_of("a", "b"))
    again = Group([request_entry("a", status=500), request_entry("b")], group_of("a", "b").attempts)
    await writer.replay([again, group_of("c")])
    await writer.replay([again, group_of("c")])

    assert (await books_of(database))[0] == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    assert {entry.status for entry in await last_requests(database, 10)} == {200}


async def test_of_a_group_that_is_there_in_part_the_rest_is_written(database, writer):
    await writer.submit(group_of("a"))
    await writer.replay([group_of("a", "b")])

    assert (await books_of(database))[0] == {"a": [1, 2], "b": [1, 2]}


async def test_what_a_written_group_left_behind_and_was_deleted_since_does_not_come_back(
    database, writer
):
    group = group_of("a", kept=[kept_row()])
    await writer.submit(group)
    async with database.transaction() as connection:
        await connection.execute(sa.delete(tables.kept))
    await writer.replay([group])

    assert (await books_of(database))[1] == {}


async def test_kept_rows_of_later_groups_take_the_place_of_earlier_ones(database, writer):
    await writer.submit(group_of("a", kept=[kept_row(sealed=b"first")]))
    await writer.replay(
        [
            group_of("b", kept=[kept_row(sealed=b"second")]),
            group_of("c", kept=[kept_row(sealed=b"third")]),
        ]
    )

    assert (await books_of(database))[1] == {"rep_1": b"third"}


async def test_more_requests_than_one_question_can_name(database, writer):
    names = [f"req_{number:04}" for number in range(1300)]
    await writer.submit(group_of(*names[300:400]))
    await writer.replay([group_of(*names[at : at + 100]) for at in range(0, 1300, 100)])

    assert (await books_of(database))[0] == {name: [1, 2] for name in names}


async def test_a_value_that_no_database_holds_is_refused_and_nothing_of_it_written(
    database, writer
):
    with pytest.raises(UnwritableError):
        await writer.replay([group_of("a"), Group([request_entry("b", cost_ticks=2**70)], [])])

    assert (await books_of(database))[0] == {}
    await writer.replay([group_of("a")])
    assert (await books_of(database))[0] == {"a": [1, 2]}


@pytest.mark.postgres
@pytest.mark.parametrize(
    "change",
    [{"model_asked": "a\0b"}, {"model_asked": "\ud800"}, {"key_id": "k" * 100}, {"status": 2**40}],
)
async def test_a_value_that_postgresql_does_not_take_is_told_from_its_absence(
    postgres, tmp_path, change
):
    database = await Database.open(postgres.empty_database(), tmp_path)
    async with open_writer(database) as writer:
        with pytest.raises(UnwritableError):
            await writer.replay([Group([request_entry("b", **change)], [])])
    await database.close()


async def test_nothing_to_replay_asks_whether_the_database_is_there(writer):
    await writer.replay([])
    await writer.replay([Group([], [], [])])


async def test_a_locked_file_is_an_absence(tmp_path, monkeypatch):
    monkeypatch.setattr("groxy.store.database._SQLITE_BUSY_MS", 20)
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    async with open_writer(database) as writer:
        with locked(tmp_path / "groxy.db"), pytest.raises(GroxyError) as caught:
            await writer.replay([group_of("a")])
        await writer.replay([group_of("a")])
    found = await books_of(database)
    await database.close()

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert found[0] == {"a": [1, 2]}


@pytest.mark.postgres
async def test_what_another_transaction_commits_meanwhile_is_refused_once_and_known_then(
    postgres, tmp_path
):
    database = await Database.open(postgres.empty_database(), tmp_path)
    groups = [group_of("a"), group_of("b")]
    async with open_writer(database) as writer:
        async with database.transaction() as connection:
            await write(connection, Statements.for_database(database), groups[0])
            replay = asyncio.get_running_loop().create_task(writer.replay(groups))
            async with asyncio.timeout(5):
                while not await waits_for_a_lock(database):
                    await asyncio.sleep(0.01)
        with pytest.raises(UnwritableError):
            await replay
        await writer.replay(groups)
    found = await books_of(database)
    await database.close()

    assert found[0] == {"a": [1, 2], "b": [1, 2]}


async def waits_for_a_lock(database):
    """Return whether anybody at this database does; a transaction sees one state of that only."""
    question = (
        "SELECT count(*) > 0 FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with database.transaction() as connection:
        return await connection.scalar(sa.text(question))


@pytest.mark.postgres
async def test_a_server_that_is_gone_is_an_absence_and_it_comes_back(postgres, tmp_path):
    database = await Database.open(postgres.empty_database(), tmp_path)
    kinds = []
    async with open_writer(database) as writer:
        await writer.replay([group_of("a")])
        postgres.stop()
        try:
            for groups in ([], [group_of("b")]):
                with pytest.raises(GroxyError) as caught:
                    await writer.replay(groups)
                kinds.append(caught.value.kind)
        finally:
            postgres.start()
        await writer.replay([group_of("a"), group_of("b")])
    found = await books_of(database)
    await database.close()

    assert kinds == [ErrorKind.STORE_DOWN] * 2
    assert found[0] == {"a": [1, 2], "b": [1, 2]}


async def test_who_has_no_time_left_can_stop_it_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("groxy.store.database._SQLITE_BUSY_MS", 300)
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    async with open_writer(database) as writer:
        with locked(tmp_path / "groxy.db"), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await writer.replay([group_of("a")])
        found = await books_of(database)
        await writer.replay([group_of("b")])
        after = await books_of(database)
    await database.close()

    assert (found[0], after[0]) == ({}, {"b": [1, 2]})
