"""The books' writer: entries of many requests, committed together.

In: the entries of one request. Out: nothing, once they are durable. A group gathers while another
is being committed, and while the loop is busy, so that a commit's cost is shared by all who wait
for it, and a lone request waits for no one. Must not drop an entry it took: `close` writes what is
left.

While the database is away, groups are spooled (`ledger/backlog.py`), and durable there: see
docs/decisions/0010-spool-while-the-database-is-away.md.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.backlog import RETRY_EVERY_S, Backlog, withheld
from groxy.ledger.spool import Spool
from groxy.observe import logs
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.kept import KeptRow
from groxy.store.ledger import Balances, Entry, Move
from groxy.store.replay import ReplayingWriter
from groxy.store.writing import Group

Committed = Balances | None
"""What the balances are that were moved; None while the database is away and does not know yet."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be entered of one request."""

    request: RequestEntry
    attempts: Sequence[AttemptEntry] = ()
    kept: Sequence[KeptRow] = ()
    """What the request leaves behind; it is there if and only if the entry is."""
    entries: Sequence[Entry] = ()
    moves: Sequence[Move] = ()


_Pending = tuple[Sheet, "asyncio.Future[Committed]"]
_MAX_GROUP = 512
"""Requests in one commit: bounds how long a single one takes."""
_GATHER_S = 0.005
"""The most that a busy loop has a group wait for company."""
_IDLE_S = 0.0001
"""A turn of the loop that takes less had nothing else to do."""


class _Write(msgspec.Struct, eq=False):
    """A group that the database is being given."""

    waiters: Sequence[_Pending]
    group: Group
    began: float
    written: "asyncio.Future[Balances]"


class Journal:
    """Takes entries and tells when they are durable.

    Without a `spool` a group that cannot be written fails its requests. With one it is spooled for
    up to `grace_s` seconds of the database's absence, which `clock` measures; one that is not
    written after `write_timeout_s` counts as such.
    """

    def __init__(
        self,
        writer: ReplayingWriter,
        *,
        observe_commit: Callable[[float], None],
        spool: Spool | None = None,
        grace_s: float = 60.0,
        write_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._observe_commit = observe_commit
        self._write_timeout_s = write_timeout_s
        self._backlog: Backlog | None = None
        if spool is not None:
            self._backlog = Backlog(
                spool=spool,
                writer=writer,
                grace_s=grace_s,
                write_timeout_s=write_timeout_s,
                clock=clock,
            )
        self._pending: list[_Pending] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = asyncio.Event()
        self._is_away = False
        self._is_held = False
        """No group begins: the last spooled ones are being entered."""
        self._is_busy = False
        """A group is being written or spooled."""
        self._write: _Write | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._returning: asyncio.Task[None] | None = None
        self.on_return: Callable[[], None] = _nothing_to_do
        """Called when the database has everything again that was spooled meanwhile."""
        self._log = logs.get_logger("books")

    async def recover(self) -> None:
        """Enter what dead processes left in the spool; call it before anything is submitted.

        What the database does not take now is tried again later, as after any absence.
        """
        if self._backlog is None or not await self._backlog.adopt():
            return
        self._is_away = True
        if not await self._came_back(self._backlog):
            self._backlog.begin("it did not take what an earlier process spooled")
            self._returning = _spawn(self._return(self._backlog))

    def require_open(self) -> None:
        """Raise STORE_DOWN when an entry would be refused, before anything is spent on it."""
        if self._is_away and self._backlog is not None:
            self._backlog.require_room()

    @property
    def spooled_bytes(self) -> int:
        """What waits for the database; 0 while it is there."""
        return self._backlog.spool.size if self._backlog is not None else 0

    def submit(self, sheet: Sheet) -> "asyncio.Future[Committed]":
        """Enter a request and all that belongs to it; the future ends once that is durable.

        It ends with STORE_DOWN when it could not be written. Whether anybody waits for it makes
        no difference to the entries.
        """
        if self._closing.is_set():
            raise GroxyError(ErrorKind.STORE_DOWN, "The gateway is shutting down. Try again.")
        committed: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._pending.append((sheet, committed))
        if self._idle.is_set():
            self._idle.clear()
            self._gather()
        return committed

    async def close(self) -> None:
        """Take no more entries, and return once all are written or spooled."""
        self._closing.set()
        await self._idle.wait()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._returning is not None:
            await self._returning
        if self._backlog is not None:
            await self._backlog.close()

    def _gather(self) -> None:
        """Begin a group once the loop has nothing else to do: until then more entries may come."""
        now = time.perf_counter()
        asyncio.get_running_loop().call_soon(self._look_for_more, now, now + _GATHER_S)

    def _look_for_more(self, last_look: float, until: float) -> None:
        now = time.perf_counter()
        if now - last_look < _IDLE_S or now > until or len(self._pending) >= _MAX_GROUP:
            self._begin_group()
        else:
            asyncio.get_running_loop().call_soon(self._look_for_more, now, until)

    def _begin_group(self) -> None:
        """Hand what is pending to the writer; the rest gathers until that is done."""
        if self._is_held or self._is_busy or not self._pending:
            return
        self._is_busy = True
        waiters, self._pending = self._pending[:_MAX_GROUP], self._pending[_MAX_GROUP:]
        group = _group_of(waiters)
        if self._is_away and self._backlog is not None:
            self._keep(self._backlog, waiters, group)
            return
        written = self._writer.submit(group)
        self._write = _Write(waiters, group, time.perf_counter(), written)
        written.add_done_callback(partial(self._end_write, self._write))
        if self._alarm is None and self._backlog is not None:
            # One timer for many groups: it looks how old the one is that it finds.
            self._set_alarm(self._backlog, self._write_timeout_s)

    def _end_write(self, write: _Write, written: "asyncio.Future[Balances]") -> None:
        error = _fate_of(written)
        if write is not self._write:
            return  # It took too long, and its group was spooled.
        self._write = None
        if error is None:
            self._observe_commit(time.perf_counter() - write.began)
        elif self._backlog is not None and _is_absence(error):
            self._leave(self._backlog, write, _detail_of(error))
            return
        self._end_group(write.waiters, error, None if error else written.result())

    def _end_group(
        self,
        waiters: Sequence[_Pending],
        error: BaseException | None,
        balances: Committed = None,
    ) -> None:
        """Tell those who wait, and begin the next group."""
        for _, committed in waiters:
            if committed.done():
                continue  # Nobody waits any more; the entry is written all the same.
            if error is None:
                committed.set_result(balances)
            else:
                committed.set_exception(_copy(error))
        self._is_busy = False
        if self._pending:
            self._gather()
        else:
            self._idle.set()

    # ------------------------------------------------------------------ while the database is away

    def _set_alarm(self, backlog: Backlog, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(delay_s, self._look_at_write, backlog)

    def _look_at_write(self, backlog: Backlog) -> None:
        """Give up a group that the database has been given for too long."""
        self._alarm = None
        write = self._write
        if write is None or write.written.done():
            return
        left_s = write.began + self._write_timeout_s - time.perf_counter()
        if left_s > 0:
            self._set_alarm(backlog, left_s)
            return
        self._write = None
        # It may still be written. Then it is known when its turn comes, and not entered twice.
        write.written.cancel()
        self._leave(backlog, write, f"a commit took more than {self._write_timeout_s:g} s")

    def _leave(self, backlog: Backlog, write: _Write, reason: str) -> None:
        """Go on without the database, beginning with a group that it did not write."""
        self._is_away = True
        backlog.begin(reason)
        self._returning = _spawn(self._return(backlog))
        self._keep(backlog, write.waiters, write.group)

    def _keep(self, backlog: Backlog, waiters: Sequence[_Pending], group: Group) -> None:
        try:
            kept = backlog.keep(group)
        except GroxyError as error:
            self._end_group(waiters, error)
            return
        kept.add_done_callback(partial(self._end_keep, backlog, waiters))

    def _end_keep(
        self, backlog: Backlog, waiters: Sequence[_Pending], kept: "asyncio.Future[None]"
    ) -> None:
        error = _fate_of(kept)
        if error is not None:
            reason = _detail_of(error)
            backlog.note_refusal(reason)
            error = withheld(reason)
        self._end_group(waiters, error)

    async def _return(self, backlog: Backlog) -> None:
        """Try the database again and again, a last time when closing."""
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                async with asyncio.timeout(_jittered(RETRY_EVERY_S)):
                    await self._closing.wait()
            is_last = self._closing.is_set()
            if await self._came_back(backlog):
                return

    async def _came_back(self, backlog: Backlog) -> bool:
        """Return whether the database took everything that was spooled."""
        try:
            await backlog.replay(self._hold)
        except (GroxyError, OSError):
            return False
        except Exception:  # noqa: BLE001 - whatever it is, giving up would spool for ever
            self._log.exception("spooled entries could not be entered")
            return False
        else:
            self._is_away = False
            self.on_return()
            return True
        finally:
            self._is_held = False
            if self._pending and not self._is_busy:
                self._begin_group()

    def _hold(self) -> None:
        self._is_held = True


def _spawn(work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
    # The journal holds the task and waits for it before it closes, so it is not lost.
    return asyncio.get_running_loop().create_task(work)


def _jittered(seconds: float) -> float:
    """Processes that lost the database at once do not come back at once."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a key


def _is_absence(error: BaseException) -> bool:
    return isinstance(error, GroxyError) and error.kind is ErrorKind.STORE_DOWN


def _detail_of(error: BaseException) -> str:
    if isinstance(error, GroxyError):
        return error.detail or error.message
    return f"{type(error).__name__}: {error}"


def _group_of(waiters: Sequence[_Pending]) -> Group:
    """Return what goes into one transaction."""
    sheets = [sheet for sheet, _ in waiters]
    return Group(
        [sheet.request for sheet in sheets],
        [attempt for sheet in sheets for attempt in sheet.attempts],
        [row for sheet in sheets for row in sheet.kept],
        [entry for sheet in sheets for entry in sheet.entries],
        [move for sheet in sheets for move in sheet.moves],
    )


def _nothing_to_do() -> None:
    """Nobody asked to be told."""


def _fate_of(written: "asyncio.Future[Balances] | asyncio.Future[None]") -> BaseException | None:
    """Return why a group was not written, or None when it was."""
    if written.cancelled():
        message = "The reply could not be entered in the books. Try again."
        return GroxyError(ErrorKind.STORE_DOWN, message, detail="the writer was stopped")
    return written.exception()


def _copy(error: BaseException) -> BaseException:
    """Each waiter raises its own: one exception object shared by tasks mixes their tracebacks."""
    if not isinstance(error, GroxyError):
        return error
    return GroxyError(
        error.kind, error.message, detail=error.detail, retry_after_s=error.retry_after_s
    )
