"""Real databases that stop, hang or are locked under load, and real processes that are killed."""

import asyncio
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger import journal as journal_module
from groxy.ledger.journal import Journal, Sheet
from groxy.ledger.spool import Spool
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.entries import last_requests
from groxy.store.replay import replaying_writer
from tests.store.rows import attempt_entry, locked, request_entry

ROOT = Path(__file__).parents[2]
SQLITE = "sqlite+aiosqlite:///groxy.db"
RETRY_S = 0.1


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(journal_module, "RETRY_EVERY_S", RETRY_S)
    monkeypatch.setattr("groxy.store.database._SQLITE_BUSY_MS", 300)


class Wire:
    """A connection to a server that can be held up, either way or only what comes back."""

    def __init__(self, port):
        self._server_port = port
        self._open = {"there": asyncio.Event(), "back": asyncio.Event()}
        self._tasks = set()
        self.flow()

    def hold(self, *ways):
        for way in ways:
            self._open[way].clear()

    def flow(self):
        for way in self._open.values():
            way.set()

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        ends = [writer]
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
            ends.append(server)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump("there", reader, server))
                tasks.create_task(self._pump("back", answers, writer))
        except* OSError:
            pass
        finally:
            # Both, also when cancelled: an end that is still open when the loop is gone complains.
            for end in ends:
                end.close()
            self._tasks.discard(asyncio.current_task())

    async def _pump(self, way, reader, writer):
        while data := await reader.read(65536):
            await self._open[way].wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    @classmethod
    @asynccontextmanager
    async def to(cls, url):
        """Return a wire, and the URL of the database behind it."""
        parsed = sa.make_url(url)
        wire = cls(parsed.port)
        server = await asyncio.start_server(wire._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield wire, parsed.set(port=port).render_as_string(hide_password=False)
        finally:
            wire.flow()
            server.close()
            for task in list(wire._tasks):
                task.cancel()
            await asyncio.gather(*wire._tasks, return_exceptions=True)
            # Closed ends are let go by the loop in its next turn.
            await asyncio.sleep(0)


@asynccontextmanager
async def open_journal(url, folder, *, write_timeout_s=1.0, grace_s=60.0):
    database = await Database.open(url, folder)
    writer = replaying_writer(database)
    journal = Journal(
        writer,
        observe_commit=lambda seconds: None,
        spool=Spool(folder, max_bytes=64 * 1024 * 1024),
        grace_s=grace_s,
        write_timeout_s=write_timeout_s,
    )
    try:
        yield journal, database
    finally:
        await journal.close()
        await writer.close()
        await database.close()


class Load:
    """Clients that submit one request after the other, and what became of each."""

    def __init__(self, journal):
        self._journal = journal
        self._stopped = False
        self.told: list[str] = []
        self.refused: list[str] = []
        self.kinds: set[tuple[ErrorKind, float | None]] = set()
        self.longest_s = 0.0

    async def _client(self, number):
        turn = 0
        while not self._stopped:
            name = f"req_{number}_{turn}"
            lines = [attempt_entry(name, 1), attempt_entry(name, 2)]
            began = time.perf_counter()
            try:
                await self._journal.submit(
                    Sheet(request=request_entry(name, attempts=2), attempts=lines)
                )
            except GroxyError as error:
                self.kinds.add((error.kind, error.retry_after_s))
                self.refused.append(name)
                await asyncio.sleep(0.05)
            else:
                self.told.append(name)
            self.longest_s = max(self.longest_s, time.perf_counter() - began)
            turn += 1
            await asyncio.sleep(0.002)

    @asynccontextmanager
    async def running(self, clients=16):
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(self._client(number))
            try:
                yield
            finally:
                self._stopped = True

    async def more(self, count=50):
        """Wait until so many more requests were told of."""
        wanted = len(self.told) + count
        async with asyncio.timeout(15):
            while len(self.told) < wanted:
                await asyncio.sleep(0.01)


async def returned(journal):
    async with asyncio.timeout(15):
        while journal._is_away:
            await asyncio.sleep(0.01)


async def books_of(database):
    """Return how many attempts each request in the books has."""
    found = {entry.id: 0 for entry in await last_requests(database, 1_000_000)}
    column = tables.attempts.c.request_id
    async with database.transaction() as connection:
        counts = await connection.execute(sa.select(column, sa.func.count()).group_by(column))
        found.update({str(name): int(count) for name, count in counts})
    return found


# ---------------------------------------------------------------------------------- PostgreSQL


@pytest.mark.postgres
async def test_a_server_that_is_stopped_and_started_under_load_costs_nothing(postgres, tmp_path):
    async with open_journal(postgres.empty_database(), tmp_path) as (journal, database):
        load = Load(journal)
        async with load.running():
            for _ in range(2):
                await load.more()
                await asyncio.to_thread(postgres.stop)
                try:
                    await load.more()
                    assert journal.spooled_bytes
                finally:
                    await asyncio.to_thread(postgres.start)
                await returned(journal)
        await returned(journal)
        books = await books_of(database)

    assert load.refused == []
    assert books == dict.fromkeys(load.told, 2)
    assert list(tmp_path.glob("spool-*")) == []


@pytest.mark.postgres
@pytest.mark.parametrize("ways", [("there", "back"), ("back",)])
async def test_a_server_that_does_not_answer_holds_nobody_up_for_long(postgres, tmp_path, ways):
    async with (
        Wire.to(postgres.empty_database()) as (wire, url),
        open_journal(url, tmp_path, write_timeout_s=0.3) as (journal, database),
    ):
        load = Load(journal)
        async with load.running():
            await load.more()
            wire.hold(*ways)
            try:
                await asyncio.sleep(1.5)
                await load.more()
                assert journal.spooled_bytes
            finally:
                wire.flow()
            await returned(journal)
            await load.more()
        await returned(journal)
        books = await books_of(database)

    assert load.refused == []
    assert load.longest_s < 1.5
    assert books == dict.fromkeys(load.told, 2)


@pytest.mark.postgres
async def test_after_the_grace_replies_are_withheld_and_none_of_them_is_in_the_books(
    postgres, tmp_path
):
    async with open_journal(postgres.empty_database(), tmp_path, grace_s=0.5) as (
        journal,
        database,
    ):
        load = Load(journal)
        async with load.running():
            await load.more()
            await asyncio.to_thread(postgres.stop)
            try:
                async with asyncio.timeout(15):
                    while len(load.refused) < 20:
                        await asyncio.sleep(0.01)
            finally:
                await asyncio.to_thread(postgres.start)
            await returned(journal)
            await load.more()
        await returned(journal)
        books = await books_of(database)

    assert load.kinds == {(ErrorKind.STORE_DOWN, 5)}
    assert books == dict.fromkeys(load.told, 2)


# -------------------------------------------------------------------------------------- SQLite


async def test_a_locked_file_costs_nothing_and_holds_nobody_up_for_long(tmp_path):
    async with open_journal(SQLITE, tmp_path, write_timeout_s=0.2) as (journal, database):
        load = Load(journal)
        async with load.running():
            await load.more()
            with locked(tmp_path / "groxy.db"):
                await asyncio.sleep(1)
                await load.more()
                assert journal.spooled_bytes
            await returned(journal)
            await load.more()
        await returned(journal)
        books = await books_of(database)

    assert load.refused == []
    assert load.longest_s < 1.0
    assert books == dict.fromkeys(load.told, 2)
    assert list(tmp_path.glob("spool-*")) == []


# ------------------------------------------------------------------------------------- kill -9

_SPOOLS_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from groxy.ledger.journal import Journal, Sheet
from groxy.ledger.spool import Spool
from groxy.store import database as database_module
from groxy.store.database import Database
from groxy.store.replay import replaying_writer
from tests.store.rows import attempt_entry, request_entry

database_module._SQLITE_BUSY_MS = 100
folder = Path(sys.argv[2])

async def client(journal, number):
    for turn in range(10**9):
        name = f"req_{number}_{turn}"
        lines = [attempt_entry(name, 1), attempt_entry(name, 2)]
        await journal.submit(Sheet(request=request_entry(name, attempts=2), attempts=lines))
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()

async def main():
    database = await Database.open(sys.argv[1], folder)
    journal = Journal(
        replaying_writer(database), observe_commit=lambda seconds: None,
        spool=Spool(folder, max_bytes=2**30), write_timeout_s=0.2,
    )
    (folder / "ready").touch()
    await asyncio.gather(*(client(journal, number) for number in range(32)))

asyncio.run(main())
"""


def killed_once(is_so, arguments, folder):
    """Run a process until something is so and then some, kill it, and return what it told."""
    told_of = folder / "told_of"
    with told_of.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _SPOOLS_UNTIL_KILLED, *arguments], cwd=ROOT, stdout=out
        )
    ends_at = time.monotonic() + 30
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < ends_at
        time.sleep(0.005)
    time.sleep(0.2)
    process.kill()
    process.wait()
    lines = told_of.read_text().split("\n")[:-1]
    return {line for line in lines if line.startswith("req_")}  # the log goes there too


def is_spooling(folder):
    return sum(path.stat().st_size for path in folder.glob("spool-*.jsonl")) > 50_000


async def books_after_a_start(url, folder):
    async with open_journal(url, folder) as (journal, database):
        await journal.recover()
        assert not journal._is_away
        return await books_of(database)


async def test_after_kill_9_in_mid_spool_every_request_that_was_told_of_is_entered_at_the_start(
    tmp_path,
):
    database = await Database.open(SQLITE, tmp_path)
    await database.close()
    with locked(tmp_path / "groxy.db"):
        told = killed_once(lambda: is_spooling(tmp_path), [SQLITE, str(tmp_path)], tmp_path)
    books = await books_after_a_start(SQLITE, tmp_path)

    assert len(told) > 30
    assert told - set(books) == set()
    assert set(books.values()) == {2}
    assert list(tmp_path.glob("spool-*")) == []


async def test_after_kill_9_in_mid_replay_nothing_is_missing_or_there_twice(tmp_path):
    database = await Database.open(SQLITE, tmp_path)
    await database.close()
    with locked(tmp_path / "groxy.db"):
        first = killed_once(lambda: is_spooling(tmp_path), [SQLITE, str(tmp_path)], tmp_path)
    left = {path: path.read_bytes() for path in tmp_path.glob("spool-*.jsonl")}
    await books_after_a_start(SQLITE, tmp_path)
    # As if it had been killed between the commit and the deletion.
    for path, content in left.items():
        path.write_bytes(content)
    books = await books_after_a_start(SQLITE, tmp_path)

    assert first - set(books) == set()
    assert set(books.values()) == {2}
    assert list(tmp_path.glob("spool-*")) == []
