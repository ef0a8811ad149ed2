import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.journal import Journal, Sheet
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.entries import last_requests
from groxy.store.kept import KeptRow
from groxy.store.replay import replaying_writer
from tests.store.rows import attempt_entry, locked, request_entry

STORE_DOWN = GroxyError(ErrorKind.STORE_DOWN, "Not now.", detail="disk full", retry_after_s=1)


class Writer:
    """Takes groups and ends them when the test says so."""

    def __init__(self):
        self.groups = []
        self._open = []

    def submit(self, group):
        assert not self._open, "one group at a time"
        requests, attempts, self.kept, *_ = group
        written = asyncio.get_running_loop().create_future()
        self.groups.append(([line.id for line in requests], [line.request_id for line in attempts]))
        self._open.append(written)
        return written

    async def end_group(self, error=None):
        """End the group that is being written, or that is about to be."""
        await self.begun()
        written = self._open.pop()
        if error is None:
            written.set_result({})
        else:
            written.set_exception(error)
        await settled()

    async def begun(self):
        """Wait until a group is being written."""
        while not self._open:
            await asyncio.sleep(0)

    async def replay(self, groups):
        raise NotImplementedError

    async def close(self):
        pass


async def settled():
    """Let everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def journal(writer):
    return Journal(writer, observe_commit=lambda seconds: None)


def submit(journal, name):
    return journal.submit(Sheet(request=request_entry(name), attempts=[attempt_entry(name)]))


async def started(journal, writer, name):
    """Submit an entry that goes to the writer alone."""
    committed = submit(journal, name)
    await writer.begun()
    return committed


def fate(committed):
    """Return "waits", "written", or the error."""
    if not committed.done():
        return "waits"
    return committed.exception() or "written"


# -------------------------------------------------------------------------------------- groups


async def test_a_lone_request_goes_to_the_writer_though_nothing_follows(journal, writer):
    committed = submit(journal, "a")
    await writer.end_group()

    assert writer.groups == [(["a"], ["a"])]
    assert fate(committed) == "written"


async def test_what_comes_in_one_turn_of_the_loop_goes_together(journal, writer):
    for name in "abc":
        submit(journal, name)
    await writer.end_group()

    assert writer.groups == [(list("abc"), list("abc"))]


async def test_a_group_gathers_while_the_loop_has_other_work(journal, writer):
    for name in "abcd":
        submit(journal, name)
        time.sleep(0.0005)
        await asyncio.sleep(0)
    await writer.end_group()

    assert writer.groups == [(list("abcd"), list("abcd"))]


async def test_a_loop_that_is_always_busy_does_not_keep_a_group_waiting(journal, writer):
    submit(journal, "a")
    turns = 0
    while not writer.groups:
        time.sleep(0.001)
        turns += 1
        await asyncio.sleep(0)

    assert 2 <= turns <= 10


async def test_nobody_is_told_before_the_commit(journal, writer):
    first, second = await started(journal, writer, "a"), submit(journal, "b")
    await settled()
    before = fate(first), fate(second)
    await writer.end_group()

    assert before == ("waits", "waits")
    assert (fate(first), fate(second)) == ("written", "waits")


async def test_what_comes_during_a_commit_goes_together_into_the_next(journal, writer):
    committed = [await started(journal, writer, "a"), *(submit(journal, name) for name in "bcdef")]
    await writer.end_group()
    await writer.end_group()

    assert [requests for requests, _ in writer.groups] == [["a"], list("bcdef")]
    assert {fate(one) for one in committed} == {"written"}


async def test_a_group_keeps_the_order_of_its_requests_and_of_their_attempts(journal, writer):
    await started(journal, writer, "a")
    for name in ("c", "b"):
        journal.submit(
            Sheet(
                request=request_entry(name),
                attempts=[attempt_entry(name, number) for number in (1, 2)],
            )
        )
    await writer.end_group()

    assert writer.groups[1] == (["c", "b"], ["c", "c", "b", "b"])
    await writer.end_group()


async def test_a_request_without_attempts_is_entered_too(journal, writer):
    committed = journal.submit(Sheet(request=request_entry("a"), attempts=[]))
    await writer.end_group()

    assert writer.groups == [(["a"], [])]
    assert fate(committed) == "written"


async def test_a_group_is_bounded_and_the_rest_follows_in_order(journal, writer):
    names = [f"{number:04}" for number in range(1300)]
    committed = [await started(journal, writer, names[0])]
    committed += [submit(journal, name) for name in names[1:]]
    while any(fate(one) == "waits" for one in committed):
        await writer.end_group()

    assert [len(requests) for requests, _ in writer.groups] == [1, 512, 512, 275]
    assert [name for requests, _ in writer.groups for name in requests] == names


async def test_after_a_pause_it_goes_on(journal, writer):
    submit(journal, "a")
    await writer.end_group()
    await asyncio.sleep(0.01)
    committed = submit(journal, "b")
    await writer.end_group()

    assert fate(committed) == "written"


async def test_each_commit_is_measured_once(writer):
    measured: list[float] = []
    journal = Journal(writer, observe_commit=measured.append)
    await started(journal, writer, "a")
    for name in "bcd":
        submit(journal, name)
    await asyncio.sleep(0.02)
    await writer.end_group()
    await writer.end_group()

    assert len(measured) == 2
    assert measured[0] >= 0.02 > measured[1] >= 0


# ------------------------------------------------------------------------------------ failures


async def test_a_commit_that_fails_fails_its_own_waiters_and_no_others(journal, writer):
    committed = {"a": await started(journal, writer, "a")}
    committed |= {name: submit(journal, name) for name in "bc"}
    await writer.end_group()
    await writer.begun()
    committed["d"] = submit(journal, "d")
    await writer.end_group(STORE_DOWN)
    await writer.end_group()

    fates = {name: fate(one) for name, one in committed.items()}
    assert (fates["a"], fates["d"]) == ("written", "written")
    assert [fates[name].kind for name in "bc"] == [ErrorKind.STORE_DOWN] * 2


async def test_an_error_arrives_with_all_that_it_says(journal, writer):
    committed = submit(journal, "a")
    await writer.end_group(STORE_DOWN)

    error = fate(committed)

    assert (error.kind, error.message) == (ErrorKind.STORE_DOWN, "Not now.")
    assert (error.detail, error.retry_after_s) == ("disk full", 1)


async def test_each_waiter_raises_an_error_of_its_own(journal, writer):
    submitted = [submit(journal, name) for name in "abc"]
    await writer.end_group(STORE_DOWN)

    errors = [fate(one) for one in submitted]

    assert len({id(error) for error in [*errors, STORE_DOWN]}) == 4


async def test_a_commit_that_fails_is_not_measured(writer):
    measured: list[float] = []
    journal = Journal(writer, observe_commit=measured.append)
    committed = submit(journal, "a")
    await writer.end_group(STORE_DOWN)

    assert measured == []
    assert fate(committed).kind is ErrorKind.STORE_DOWN


async def test_a_writer_that_breaks_in_an_unknown_way_fails_its_waiters_too(journal, writer):
    first = submit(journal, "a")
    await writer.end_group(ZeroDivisionError())
    second = submit(journal, "b")
    await writer.end_group()

    assert isinstance(fate(first), ZeroDivisionError)
    assert fate(second) == "written"


async def test_a_writer_that_was_stopped_lets_nobody_wait(journal, writer):
    committed = await started(journal, writer, "a")
    writer._open.pop().cancel()
    await settled()

    assert fate(committed).kind is ErrorKind.STORE_DOWN
    await asyncio.wait_for(journal.close(), 1)


# -------------------------------------------------------------------------- waiters that leave


async def test_what_nobody_waits_for_any_more_is_written_all_the_same(journal, writer):
    await started(journal, writer, "a")
    submit(journal, "b").cancel()
    last = submit(journal, "c")
    await writer.end_group()
    await writer.end_group()

    assert writer.groups[1] == (["b", "c"], ["b", "c"])
    assert fate(last) == "written"


async def test_a_waiter_that_leaves_during_the_commit_disturbs_nobody(journal, writer):
    await started(journal, writer, "a")
    leaves, stays = submit(journal, "b"), submit(journal, "c")
    await writer.end_group()
    await writer.begun()
    leaves.cancel()
    await writer.end_group()

    assert fate(stays) == "written"


async def test_a_waiter_that_leaves_a_commit_that_fails_disturbs_nobody(journal, writer):
    await started(journal, writer, "a")
    leaves, stays = submit(journal, "b"), submit(journal, "c")
    await writer.end_group()
    await writer.begun()
    leaves.cancel()
    await writer.end_group(STORE_DOWN)
    after = submit(journal, "d")
    await writer.end_group()

    assert fate(stays).kind is ErrorKind.STORE_DOWN
    assert fate(after) == "written"


# ------------------------------------------------------------------------------------- closing


async def test_closing_waits_for_all_that_was_taken(journal, writer):
    committed = [await started(journal, writer, "a"), submit(journal, "b"), submit(journal, "c")]
    closing = asyncio.ensure_future(journal.close())
    await settled()
    was_closed = [closing.done()]
    await writer.end_group()
    was_closed.append(closing.done())
    await writer.end_group()
    await asyncio.wait_for(closing, 1)

    assert was_closed == [False, False]
    assert [fate(one) for one in committed] == ["written"] * 3


async def test_closing_ends_although_the_last_commit_fails(journal, writer):
    committed = submit(journal, "a")
    closing = asyncio.ensure_future(journal.close())
    await settled()
    await writer.end_group(STORE_DOWN)

    await asyncio.wait_for(closing, 1)
    assert fate(committed).kind is ErrorKind.STORE_DOWN


async def test_a_journal_with_nothing_to_do_closes_at_once(journal):
    await asyncio.wait_for(journal.close(), 1)
    await asyncio.wait_for(journal.close(), 1)


async def test_after_closing_nothing_is_taken(journal, writer):
    await journal.close()

    with pytest.raises(GroxyError) as caught:
        submit(journal, "a")

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert writer.groups == []


async def test_while_closing_nothing_more_is_taken(journal, writer):
    submit(journal, "a")
    closing = asyncio.ensure_future(journal.close())
    await settled()

    with pytest.raises(GroxyError):
        submit(journal, "b")

    await writer.end_group()
    await asyncio.wait_for(closing, 1)
    assert writer.groups == [(["a"], ["a"])]


# -------------------------------------------------------------------------- with real databases


async def test_a_thousand_requests_at_once_are_all_there_after_far_fewer_commits(database):
    commits: list[float] = []
    writer = replaying_writer(database)
    journal = Journal(writer, observe_commit=commits.append)

    async def client(number):
        for turn in range(10):
            name = f"req_{number:03}_{turn}"
            await journal.submit(
                Sheet(request=request_entry(name), attempts=[attempt_entry(name, 1)])
            )

    await asyncio.gather(*(client(number) for number in range(100)))
    await journal.close()
    await writer.close()

    assert len({entry.id for entry in await last_requests(database, 10_000)}) == 1000
    assert len(commits) < 250


async def test_a_request_is_in_the_database_when_its_waiter_goes_on(database):
    writer = replaying_writer(database)
    journal = Journal(writer, observe_commit=lambda seconds: None)
    found = []
    for name in ("req_1", "req_2", "req_3"):
        await submit(journal, name)
        found.append([entry.id for entry in await last_requests(database, 1)])
    await journal.close()
    await writer.close()

    assert found == [["req_1"], ["req_2"], ["req_3"]]


async def test_a_disk_that_fails_for_a_while_costs_only_the_requests_of_that_while(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("groxy.store.database._SQLITE_BUSY_MS", 20)
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    writer = replaying_writer(database)
    journal = Journal(writer, observe_commit=lambda seconds: None)
    before = [submit(journal, f"before_{number}") for number in range(20)]
    await asyncio.gather(*before)
    with locked(tmp_path / "groxy.db"):
        during = [submit(journal, f"during_{number}") for number in range(20)]
        await asyncio.wait(during)
    after = [submit(journal, f"after_{number}") for number in range(20)]
    await asyncio.gather(*after)
    await journal.close()
    await writer.close()
    names = {entry.id for entry in await last_requests(database, 1000)}
    await database.close()

    assert {one.exception().kind for one in during} == {ErrorKind.STORE_DOWN}
    assert names == {f"{when}_{number}" for when in ("before", "after") for number in range(20)}


_WRITES_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from groxy.ledger.journal import Journal, Sheet
from groxy.store.database import Database
from groxy.store.kept import KeptRow
from groxy.store.replay import replaying_writer
from tests.store.rows import attempt_entry, request_entry

async def client(journal, number):
    for turn in range(10**9):
        name = f"req_{number}_{turn}"
        lines = [attempt_entry(name, 1), attempt_entry(name, 2)]
        await journal.submit(Sheet(request=request_entry(name, attempts=2), attempts=lines))
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()

async def main():
    database = await Database.open(sys.argv[1], Path(sys.argv[2]))
    journal = Journal(replaying_writer(database), observe_commit=lambda seconds: None)
    await asyncio.gather(*(client(journal, number) for number in range(32)))

asyncio.run(main())
"""


async def books_after_kill_9(store_url, folder):
    """Return the requests that were told of, those in the books, and attempts by request."""
    told_of = folder / "told_of"
    with told_of.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITES_UNTIL_KILLED, store_url, str(folder)],
            cwd=Path(__file__).parents[2],
            stdout=out,
        )
    while not told_of.stat().st_size:
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.2)
    process.kill()
    process.wait()

    database = await Database.open(store_url, folder)
    entered = {entry.id for entry in await last_requests(database, 1_000_000)}
    column = tables.attempts.c.request_id
    async with database.transaction() as connection:
        found = await connection.execute(sa.select(column, sa.func.count()).group_by(column))
        attempts = {str(request_id): int(count) for request_id, count in found}
    await database.close()
    return set(told_of.read_text().split("\n")[:-1]), entered, attempts


async def test_after_kill_9_every_request_that_was_told_of_is_in_the_books(store_url, tmp_path):
    told, entered, _ = await books_after_kill_9(store_url, tmp_path)

    assert len(told) > 30
    assert told - entered == set()


async def test_after_kill_9_every_request_has_all_its_attempts_and_no_attempt_is_alone(
    store_url, tmp_path
):
    _, entered, attempts = await books_after_kill_9(store_url, tmp_path)

    assert attempts == dict.fromkeys(entered, 2)


async def test_what_requests_leave_behind_goes_with_their_entries(journal, writer):
    row = KeptRow("a", "reply", "key_1", None, "", "done", 1, 2, None, b"")
    journal.submit(Sheet(request=request_entry("a"), attempts=[], kept=[row]))
    await writer.begun()
    assert writer.kept == [row]
    await writer.end_group()
