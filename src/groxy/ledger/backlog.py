"""What the books still lack: groups that are spooled until the database takes them.

In: groups that the database could not be given. Out: the same groups to the database, in order,
once it answers. A group is kept for a set time only: who is served on credit for too long is
refused. Must not keep a group that is not synced, nor forget one that is not committed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.spool import Batch, Spool
from groxy.observe import logs
from groxy.store.replay import ReplayingWriter, UnwritableError
from groxy.store.writing import Group

T = TypeVar("T")

RETRY_EVERY_S = 1.0
_RETRY_AFTER_S = 5.0
_REPLAY_PATIENCE = 4.0
"""A file has more than a group, so it may take longer by this factor while nobody waits for it."""

_LEAVE_S = 1.0
"""How long closing waits for a driver that was told to give up."""


@dataclass(kw_only=True)
class Backlog:
    """Keeps groups while the database is away, and hands them over when it is back."""

    spool: Spool
    writer: ReplayingWriter
    grace_s: float
    write_timeout_s: float
    clock: Callable[[], float]
    """Seconds, from any beginning."""
    _since: float = 0.0
    """When the database was last known to be there, while it is away."""
    _refused_at: float | None = None
    """When a group was last refused, in this outage."""
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="groxy-spool")
    )
    """All work on files, in order: syncing one may take long."""
    _replays: "set[asyncio.Task[None]]" = field(default_factory=set)
    """Under way, or given up."""
    _log: logs.Logger = field(default_factory=lambda: logs.get_logger("books"))

    def begin(self, reason: str) -> None:
        """Note that the database is away from now on."""
        self._since = self.clock()
        self._refused_at = None
        self._log.warning("database is away, entries are spooled", detail=reason)

    def keep(self, group: Group) -> "asyncio.Future[None]":
        """Begin to spool a group; the future ends once it is synced, or with `OSError`.

        Raises STORE_DOWN when the database was away for too long.
        """
        if self._is_overdue():
            self.note_refusal(f"the database was away for more than {self.grace_s:g} s")
            raise withheld("the database is away for too long")
        return asyncio.get_running_loop().run_in_executor(self._thread, self.spool.append, group)

    def note_refusal(self, reason: str) -> None:
        """Note that a group could not be kept; the log has the first one of an outage."""
        if self._refused_at is None:
            self._log.error("entries cannot be spooled, replies are withheld", detail=reason)
        self._refused_at = self.clock()

    def require_room(self) -> None:
        """Raise STORE_DOWN when the next group is sure to be refused, or most likely."""
        is_recent = self._refused_at is not None and self.clock() - self._refused_at < RETRY_EVERY_S
        if is_recent or self._is_overdue():
            message = "The books cannot be written right now, so nothing is served. Try again."
            raise GroxyError(ErrorKind.STORE_DOWN, message, retry_after_s=_RETRY_AFTER_S)

    async def adopt(self) -> bool:
        """Take over what dead processes left in the spool; return whether there was anything."""
        try:
            problems = await self._in_thread(self.spool.adopt)
        except OSError as error:
            problems = [str(error)]
        for problem in problems:
            self._log.error("a spool file cannot be taken over", detail=problem)
        if self.spool.file_count:
            self._log.info("entering what an earlier process spooled", bytes=self.spool.size)
        return self.spool.file_count > 0

    async def replay(self, hold: Callable[[], None]) -> None:
        """Hand everything to the database, oldest first; when it returns, nothing is left.

        `hold` is called near the end: from then on nothing more may be given to `keep`. Raises
        STORE_DOWN or TimeoutError when the database is away still.
        """
        await self._write([], self.write_timeout_s)
        timeout_s, is_held, has_entered = self.write_timeout_s * _REPLAY_PATIENCE, False, False
        while True:
            # Others wait from here on, so not before the database has shown that it works.
            if has_entered and not is_held and self.spool.file_count <= 1:
                hold()
                timeout_s, is_held = self.write_timeout_s, True
            # A group that came before `hold` is in the spool by then: the thread keeps the order.
            batch = await self._in_thread(self.spool.oldest)
            if batch is not None:
                await self._enter(batch, timeout_s)
                self._since = self.clock()
            elif is_held:
                self._log.info("database is there, all spooled entries are in the books")
                return
            has_entered = True

    async def close(self) -> None:
        """Leave what is spooled to whoever comes next."""
        if self.spool.size:
            self._log.warning("spooled entries are left for the next start", bytes=self.spool.size)
        await self._in_thread(self.spool.release)
        if self._replays:
            await asyncio.wait(self._replays, timeout=_LEAVE_S)
        self._thread.shutdown()

    async def _enter(self, batch: Batch, timeout_s: float) -> None:
        """Enter a file in the books, and delete it."""
        refused: list[str] = []
        try:
            await self._write(batch.groups, timeout_s)
        except UnwritableError:
            refused = await self._enter_what_fits(batch.groups, timeout_s)
        is_damaged = bool(batch.damaged or refused)
        if is_damaged:
            self._log.error(
                "a spool file has lines that cannot be entered, it is kept as .damaged",
                file=batch.file.path.name,
                damaged=batch.damaged,
                refused=refused,
            )
        try:
            await self._in_thread(lambda: self.spool.discard(batch.file, keep_aside=is_damaged))
        except OSError as error:
            # It does no harm: what is in the books already is not entered again.
            self._log.warning("a spool file cannot be removed", detail=str(error))

    async def _enter_what_fits(self, groups: Sequence[Group], timeout_s: float) -> list[str]:
        """Enter what the database takes of what it refused; return the rest, as a log may say it.

        All of it is tried again first: a group that was given up as too late can be committed while
        it is entered here, which is refused once, and is known from then on. Then in ever smaller
        halves: line by line would take so long that more comes meanwhile than is entered.
        """
        refused: list[str] = []
        left: list[Sequence[Group]] = [groups]
        while left:
            part = left.pop()
            try:
                await self._write(part, timeout_s)
            except UnwritableError:
                halves = _halves(part)
                if not halves:
                    refused += _names(part)
                left += halves
        return refused

    async def _write(self, groups: Sequence[Group], timeout_s: float) -> None:
        replay = asyncio.get_running_loop().create_task(self.writer.replay(groups))
        self._replays.add(replay)
        replay.add_done_callback(self._forget)
        try:
            await asyncio.wait({replay}, timeout=timeout_s)
        finally:
            # Not waited for: a driver whose server is silent may not notice that it is cancelled.
            # Should it go on one day, then it finds in the books what is there by then.
            replay.cancel()
        if not replay.done():
            raise TimeoutError
        await replay

    def _forget(self, replay: "asyncio.Task[None]") -> None:
        self._replays.discard(replay)
        if not replay.cancelled():
            replay.exception()  # Whoever waited has it; one that took too long has no reader.

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _is_overdue(self) -> bool:
        return self.clock() - self._since > self.grace_s


def withheld(detail: str) -> GroxyError:
    """Return the error of a request whose entries are neither in the books nor in the spool."""
    return GroxyError(
        ErrorKind.STORE_DOWN,
        "The reply could not be entered in the books, so it is withheld. Try again.",
        detail=detail,
        retry_after_s=_RETRY_AFTER_S,
    )


def _halves(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Return two parts, the first one last; none of what is a single line."""
    lines = groups if len(groups) > 1 else [line for group in groups for line in _lines(group)]
    middle = len(lines) // 2
    return [lines[middle:], lines[:middle]] if middle else []


def _lines(group: Group) -> Iterator[Group]:
    """Return each request with its attempts, and each thing that is kept, as a group of its own."""
    for request in group.requests:
        yield Group(
            [request],
            [attempt for attempt in group.attempts if attempt.request_id == request.id],
            [],
            [entry for entry in group.entries if entry.request_id == request.id],
            [move for move in group.moves if move.request_id == request.id],
        )
    for row in group.kept:
        yield Group([], [], [row])


def _names(groups: Sequence[Group]) -> list[str]:
    """Return what the lines of groups are about, as a log may say it."""
    names = [request.id for group in groups for request in group.requests]
    return names + [row.id for group in groups for row in group.kept]
