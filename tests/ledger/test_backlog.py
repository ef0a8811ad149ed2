"""The journal and its backlog over a database that is away when the test says so."""

import asyncio
import errno
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger import journal as journal_module, spool as spool_module
from groxy.ledger.journal import Journal, Sheet
from groxy.ledger.spool import Spool
from groxy.store.kept import KeptRow
from groxy.store.replay import UnwritableError
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry

RETRY_S = 0.02
WRITE_TIMEOUT_S = 0.1


def away():
    return GroxyError(ErrorKind.STORE_DOWN, "Not now.", detail="connection refused")


class Books:
    """A database: `there`, `away`, `slow`, `hangs`, or `late` (hangs, and writes all the same)."""

    def __init__(self):
        self.mode = "there"
        self.names: list[str] = []
        self.kept: list[str] = []
        self.direct = 0
        self.replays: list[list[str]] = []
        self.poison: set[str] = set()
        self.misfits = 0
        """Replays that are refused though nothing is wrong with them."""
        self.refusals = 0
        self.goes_away_after = 1_000_000
        """Replays that still work."""

    def submit(self, group):
        self.direct += 1
        return asyncio.get_running_loop().create_task(self._submit(group))

    async def _submit(self, group):
        if self.mode == "late":
            self._enter(group)
        await self._answer()
        self._enter(group)

    async def replay(self, groups):
        names = [request.id for group in groups for request in group.requests]
        await self._answer()
        if self.poison & {*names, *(row.id for group in groups for row in group.kept)}:
            self.refusals += 1
            raise UnwritableError("out of range")
        if groups and self.misfits:
            self.misfits -= 1
            raise UnwritableError("duplicate key")
        if groups:
            self.goes_away_after -= 1
            if self.goes_away_after < 0:
                raise away()
            self.replays.append(names)
        for group in groups:
            if not group.requests or group.requests[0].id not in self.names:
                self._enter(group)

    async def _answer(self):
        if self.mode == "away":
            raise away()
        if self.mode in ("hangs", "late"):
            await asyncio.sleep(1_000)
        if self.mode == "slow":
            await asyncio.sleep(WRITE_TIMEOUT_S * 0.6)
        await asyncio.sleep(0)

    def _enter(self, group):
        assert {entry.request_id for entry in group.attempts} == {r.id for r in group.requests}
        self.names += [request.id for request in group.requests]
        self.kept += [row.id for row in group.kept]

    async def close(self):
        pass


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(journal_module, "RETRY_EVERY_S", RETRY_S)


@pytest.fixture
def open_journal(books, clock, tmp_path):
    """Return what opens a journal over the same books and folder."""

    @asynccontextmanager
    async def opened(max_bytes=64 * 1024 * 1024):
        journal = Journal(
            books,
            observe_commit=lambda seconds: None,
            spool=Spool(tmp_path, max_bytes=max_bytes),
            grace_s=60.0,
            write_timeout_s=WRITE_TIMEOUT_S,
            clock=clock,
        )
        try:
            yield journal
        finally:
            async with asyncio.timeout(5):
                await journal.close()

    return opened


@pytest.fixture
async def journal(open_journal):
    async with open_journal() as opened:
        yield opened


def submit(journal, name, kept=()):
    return journal.submit(
        Sheet(request=request_entry(name), attempts=[attempt_entry(name)], kept=kept)
    )


def kept_row(name):
    return KeptRow(name, "reply", "key_1", None, "acc_1", "done", 1, 2, None, b"sealed")


def spooled(folder):
    return sorted(path.name for path in folder.glob("spool-*"))


async def refusal(committed):
    with pytest.raises(GroxyError) as caught:
        await committed
    assert caught.value.kind is ErrorKind.STORE_DOWN
    return caught.value


async def until(is_so):
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.002)


async def returned(journal):
    """Wait until the database has everything."""
    await until(lambda: not journal._is_away)


# ------------------------------------------------------------------------------ while it is away


async def test_a_group_that_cannot_be_written_is_synced_before_its_waiters_go_on(
    journal, books, tmp_path
):
    books.mode = "away"
    await submit(journal, "a")
    (path,) = tmp_path.glob("spool-*")

    assert books.names == []
    assert b'"a"' in path.read_bytes()
    assert journal.spooled_bytes == path.stat().st_size


async def test_while_it_is_away_groups_go_to_the_spool_at_once(journal, books):
    books.mode = "hangs"
    await submit(journal, "a")
    began = asyncio.get_running_loop().time()
    for name in "bcdef":
        await submit(journal, name)

    assert asyncio.get_running_loop().time() - began < WRITE_TIMEOUT_S / 2
    assert books.direct == 1


async def test_when_it_is_back_it_gets_all_in_order_and_new_ones_directly(journal, books, tmp_path):
    books.mode = "away"
    for name in "abc":
        await submit(journal, name)
    books.mode = "there"
    await returned(journal)
    await submit(journal, "d")

    assert books.names == list("abcd")
    assert (books.direct, journal.spooled_bytes, spooled(tmp_path)) == (2, 0, [])


async def test_a_group_that_takes_too_long_is_spooled_and_entered_once(journal, books):
    books.mode = "late"
    await submit(journal, "a")
    books.mode = "there"
    await returned(journal)

    assert books.names == ["a"]
    assert books.replays == [["a"]]


async def test_a_group_that_is_slow_but_in_time_is_not_spooled(journal, books):
    books.mode = "slow"
    for name in "abcd":
        await submit(journal, name)
        assert not journal._is_away

    assert (books.names, books.replays) == (list("abcd"), [])


async def test_it_can_go_and_come_again_and_again(journal, books, tmp_path):
    names: list[str] = []
    for turn in range(5):
        for mode in ("away", "there", "hangs", "there"):
            books.mode = mode
            names.append(f"{turn}_{mode}_{len(names)}")
            await submit(journal, names[-1])
            if mode == "there":
                await returned(journal)

    assert books.names == names
    assert spooled(tmp_path) == []


async def test_under_load_nothing_is_lost_doubled_or_out_of_order(
    journal, books, tmp_path, monkeypatch
):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 20_000)
    stopped = asyncio.Event()
    submitted = []

    async def client(number):
        turn = 0
        while not stopped.is_set():
            name = f"{number}_{turn}"
            submitted.append(name)
            await submit(journal, name, [kept_row(name)])
            turn += 1

    async with asyncio.TaskGroup() as clients:
        for number in range(20):
            clients.create_task(client(number))
        for mode in ("there", "away", "there", "hangs", "there", "late", "there"):
            books.mode = mode
            await asyncio.sleep(0.15)
            if mode == "there":
                await returned(journal)
        stopped.set()
    await returned(journal)

    assert len(submitted) > 500
    assert len(books.replays) > 5
    assert sorted(books.names) == sorted(submitted) == sorted(books.kept)
    for number in range(20):
        turns = [int(n.split("_")[1]) for n in books.names if n.startswith(f"{number}_")]
        assert turns == sorted(turns)
    assert spooled(tmp_path) == []


async def test_one_group_is_spooled_at_a_time_although_the_database_is_tried_meanwhile(
    journal, books, monkeypatch
):
    monkeypatch.setattr(journal_module, "RETRY_EVERY_S", 0.001)
    keep, open_ones, most = journal._backlog.keep, set(), []

    def counted(group):
        kept = keep(group)
        open_ones.add(kept)
        most.append(len(open_ones))
        kept.add_done_callback(open_ones.discard)
        return kept

    journal._backlog.keep = counted
    books.mode = "away"
    ends_at = asyncio.get_running_loop().time() + 0.4

    async def client(number):
        while asyncio.get_running_loop().time() < ends_at:
            await submit(journal, f"{number}_{len(most)}_{id(object())}")

    await asyncio.gather(*(client(number) for number in range(10)))
    books.mode = "there"
    await returned(journal)

    assert len(most) > 20
    assert max(most) == 1


async def test_a_database_that_goes_away_again_in_mid_replay_gets_the_rest_later(
    journal, books, tmp_path, monkeypatch
):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 1)
    books.mode = "away"
    for name in "abcdef":
        await submit(journal, name)
    books.mode, books.goes_away_after = "there", 3
    await until(lambda: books.goes_away_after < 0)
    before = list(books.names)
    await submit(journal, "g")
    books.goes_away_after = 1_000
    await returned(journal)

    assert before == list("abc")
    assert books.names == list("abcdefg")
    assert spooled(tmp_path) == []


async def test_who_left_is_entered_all_the_same(journal, books):
    books.mode = "away"
    submit(journal, "a").cancel()
    await submit(journal, "b")
    books.mode = "there"
    await returned(journal)

    assert books.names == ["a", "b"]


async def test_a_broken_writer_is_no_absence(journal, books, tmp_path):
    async def broken(group):
        raise ZeroDivisionError

    books._submit = broken
    with pytest.raises(ZeroDivisionError):
        await submit(journal, "a")

    assert (journal._is_away, spooled(tmp_path)) == (False, [])


async def test_a_replay_that_breaks_in_an_unknown_way_is_tried_again(journal, books, monkeypatch):
    books.mode = "away"
    await submit(journal, "a")
    turns = []

    async def broken(groups):
        turns.append(groups)
        raise ZeroDivisionError

    monkeypatch.setattr(books, "replay", broken)
    await until(lambda: len(turns) >= 2)
    monkeypatch.undo()
    books.mode = "there"
    await returned(journal)

    assert books.names == ["a"]


async def test_the_log_tells_of_an_absence_once_and_of_its_end(journal, books, logged):
    books.mode = "away"
    for name in "abc":
        await submit(journal, name)
    books.mode = "there"
    await returned(journal)
    lines = [(line["level"], line["event"], line.get("detail")) for line in logged()]

    assert lines == [
        ("warning", "database is away, entries are spooled", "connection refused"),
        ("info", "database is there, all spooled entries are in the books", None),
    ]


# ------------------------------------------------------------------------------ what has an end


async def test_after_the_grace_replies_are_withheld_and_the_database_still_tried(
    journal, books, clock
):
    books.mode = "away"
    await submit(journal, "a")
    clock.now += 60
    await submit(journal, "b")
    journal.require_open()
    clock.now += 0.01
    error = await refusal(submit(journal, "c"))
    with pytest.raises(GroxyError) as early:
        journal.require_open()
    books.mode = "there"
    await returned(journal)
    journal.require_open()
    await submit(journal, "d")

    assert (error.retry_after_s, error.facts.status) == (5, 503)
    assert "withheld" in error.message
    assert (early.value.kind, early.value.retry_after_s) == (ErrorKind.STORE_DOWN, 5)
    assert books.names == ["a", "b", "d"]


async def test_the_next_absence_has_a_grace_of_its_own(journal, books, clock):
    for name in "abc":
        books.mode = "away"
        await submit(journal, name)
        clock.now += 50
        books.mode = "there"
        await returned(journal)

    assert books.names == list("abc")


async def test_a_database_that_takes_a_file_is_there_so_the_grace_begins_anew(
    journal, books, clock, monkeypatch
):
    monkeypatch.setattr(spool_module, "_FILE_BYTES", 1)
    books.mode = "away"
    for name in "ab":
        await submit(journal, name)
    clock.now += 59
    books.mode, books.goes_away_after = "there", 1
    await until(lambda: books.goes_away_after < 0)
    clock.now += 59
    await submit(journal, "c")
    books.goes_away_after = 1_000
    await returned(journal)

    assert books.names == list("abc")


async def test_a_full_spool_withholds_replies_until_there_is_room(open_journal, books, logged):
    async with open_journal(max_bytes=1_500) as journal:
        books.mode = "away"
        await submit(journal, "a")
        errors = [await refusal(submit(journal, name * 900)) for name in "bc"]
        with pytest.raises(GroxyError):
            journal.require_open()
        books.mode = "there"
        await returned(journal)
        await submit(journal, "d" * 900)
    told = [line["event"] for line in logged() if line["level"] == "error"]

    assert {error.retry_after_s for error in errors} == {5}
    assert "SpoolFullError" in errors[0].detail
    assert books.names == ["a", "d" * 900]
    assert told == ["entries cannot be spooled, replies are withheld"]


async def test_a_disk_that_is_full_too_withholds_replies_and_everything_heals(
    journal, books, clock, monkeypatch
):
    def full(descriptor, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    books.mode = "away"
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        error = await refusal(submit(journal, "a"))
        with pytest.raises(GroxyError):
            journal.require_open()
        clock.now += 1
        journal.require_open()
    await submit(journal, "b")
    books.mode = "there"
    await returned(journal)

    assert "No space left" in error.detail
    assert books.names == ["b"]


async def test_while_nothing_can_be_spooled_a_database_that_is_back_is_used(
    journal, books, monkeypatch
):
    monkeypatch.setattr(os, "write", lambda *_: 1 / 0)
    books.mode = "away"
    await refusal(submit(journal, "a"))
    books.mode = "there"
    await returned(journal)
    await submit(journal, "b")

    assert books.names == ["b"]


async def test_of_many_groups_that_are_refused_at_once_every_waiter_is_told(journal, books, clock):
    books.mode = "away"
    await submit(journal, "a")
    clock.now += 1_000
    waiting = [submit(journal, f"{number}") for number in range(1_500)]

    assert {(await refusal(one)).retry_after_s for one in waiting} == {5}


# -------------------------------------------------------------- what the database does not take


async def test_what_the_database_refuses_is_kept_aside_and_the_rest_entered(
    journal, books, tmp_path, logged
):
    books.poison = {"b", "rep_c"}
    books.mode = "away"
    for name in "abc":
        await submit(journal, name, [kept_row(f"rep_{name}")])
    books.mode = "there"
    await returned(journal)
    (line,) = [line for line in logged() if line["level"] == "error"]

    assert (books.names, books.kept) == (["a", "c"], ["rep_a", "rep_b"])
    assert line["refused"] == ["b", "rep_c"]
    assert spooled(tmp_path) == [f"{line['file']}.damaged"]


async def test_one_line_among_many_that_the_database_refuses_is_soon_found(journal, books, logged):
    names = [f"{number}" for number in range(500)]
    books.poison = {"321"}
    books.mode = "away"
    await asyncio.gather(*(submit(journal, name) for name in names))
    books.mode = "there"
    await returned(journal)
    (line,) = [line for line in logged() if line["level"] == "error"]

    assert line["refused"] == ["321"]
    assert books.names == [name for name in names if name != "321"]
    assert books.refusals + len(books.replays) < 30


@pytest.mark.parametrize("count", [1, 500])
async def test_what_is_refused_once_is_tried_again_as_a_whole(journal, books, logged, count):
    # As when a commit that was given up comes to pass while the same lines are entered again.
    names = [f"{number}" for number in range(count)]
    books.misfits = 1
    books.mode = "away"
    await asyncio.gather(*(submit(journal, name) for name in names))
    books.mode = "there"
    await returned(journal)

    assert books.replays == [names]
    assert [line for line in logged() if line["level"] == "error"] == []


async def test_a_spool_file_that_cannot_be_deleted_stops_nobody(journal, books, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    books.mode = "away"
    await submit(journal, "a")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        books.mode = "there"
        await returned(journal)
    await submit(journal, "b")

    assert books.names == ["a", "b"]


# ------------------------------------------------------------------------- stopping and starting


async def test_stopping_enters_what_is_spooled_if_the_database_is_back(
    open_journal, books, tmp_path, monkeypatch
):
    monkeypatch.setattr(journal_module, "RETRY_EVERY_S", 1_000)
    async with open_journal() as journal:
        books.mode = "away"
        await submit(journal, "a")
        books.mode = "there"

    assert (books.names, spooled(tmp_path)) == (["a"], [])


@pytest.mark.parametrize("mode", ["away", "hangs"])
async def test_what_is_spooled_when_it_stops_is_entered_at_the_next_start(
    open_journal, books, tmp_path, mode
):
    async with open_journal() as journal:
        books.mode = mode
        await submit(journal, "a")
        last = submit(journal, "b")
    await last
    left = spooled(tmp_path)
    books.mode = "there"
    async with open_journal() as journal:
        await journal.recover()
        entered = list(books.names)
        await submit(journal, "c")

    assert len(left) == 1
    assert (entered, books.names) == (["a", "b"], ["a", "b", "c"])
    assert spooled(tmp_path) == []


async def test_a_start_while_the_database_is_away_keeps_the_order(open_journal, books, tmp_path):
    async with open_journal() as journal:
        books.mode = "away"
        await submit(journal, "a")
    async with open_journal() as journal:
        await journal.recover()
        await submit(journal, "b")
        books.mode = "there"
        await returned(journal)

    assert books.names == ["a", "b"]
    assert spooled(tmp_path) == []


async def test_with_nothing_left_behind_a_start_asks_nobody(journal, books):
    books.mode = "hangs"
    async with asyncio.timeout(WRITE_TIMEOUT_S / 2):
        await journal.recover()


async def test_a_folder_that_cannot_be_read_is_told_of_and_stops_nobody(books, tmp_path, logged):
    journal = Journal(
        books, observe_commit=lambda seconds: None, spool=Spool(tmp_path / "gone", max_bytes=9)
    )
    await journal.recover()
    await submit(journal, "a")
    await journal.close()

    assert books.names == ["a"]
    assert [line["event"] for line in logged()] == ["a spool file cannot be taken over"]


async def test_damage_in_what_is_left_is_told_of(open_journal, books, tmp_path, logged):
    Spool(tmp_path, max_bytes=10_000).append(Group([request_entry("a")], [attempt_entry("a")]))
    (path,) = tmp_path.glob("spool-*")
    (tmp_path / "spool-1-1.jsonl").write_bytes(b"x\n" + path.read_bytes())
    async with open_journal() as journal:
        await journal.recover()
    (line,) = [line for line in logged() if line["level"] == "error"]

    assert (line["damaged"], line["file"]) == (1, "spool-1-1.jsonl")
    assert books.names == ["a"]
