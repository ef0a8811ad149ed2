"""Lines to a file whose reader may stand still: a thread writes them, so nobody else waits for it.

In: whole lines, as bytes. Out: the same lines in the same order, some at once where they may wait.
When more wait than memory should hold, lines are lost, and a line says how many. Knows no form of
lines, and never raises: a request must not fail because nobody reads of it.

A thread, because nothing else never waits. Whether a pipe has room is true only until another
process writes to it, and a file that must not wait (O_NONBLOCK) is one for all processes that
have it, also those that do not expect that.
"""

import atexit
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any
from weakref import WeakSet

_LINGER_S = 0.1
_IDLE_S = 1.0
"""A thread that nobody gave a line for so long ends; the next line begins another one."""
_PATIENCE_S = 1.0
"""How long a process that ends waits for who reads its lines."""
_MOST_BYTES = 1024 * 1024
"""That may wait; the more, the longer a reader may stand still without a line being lost."""
_AT_ONCE_BYTES = 4096
"""A pipe takes so much as one piece, so that lines of several processes stay whole (POSIX)."""


class Lines:
    """A file of lines. `tell` makes the line that says how many were lost."""

    def __init__(self, file: IO[Any], tell: Callable[[int], bytes]) -> None:
        self.file = file
        self.tell = tell
        self._forget()
        _every.add(self)

    def _forget(self) -> None:
        # It may be taken twice by one thread: a line may be logged by what collects garbage.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._waiting: list[bytes] = []
        self._bytes = 0
        """Of all lines that are not written yet."""
        self._lost = 0
        self._is_urgent = False

    def add(self, line: bytes) -> None:
        """Write a line within a tenth of a second, with others."""
        self._queue(line, is_urgent=False)

    def write(self, line: bytes) -> None:
        """Write a line now, after those that wait."""
        self._queue(line, is_urgent=True)

    def flush(self) -> None:
        """Do nothing; who logs calls it after each line."""

    def drain(self) -> None:
        """Wait until all is written, or until it is clear that the reader stands still."""
        with self._lock:
            if self._bytes:
                self._is_urgent = True
                self._wake()
            self._changed.wait_for(lambda: not self._bytes and not self._lost, _PATIENCE_S)

    def _queue(self, line: bytes, *, is_urgent: bool) -> None:
        with self._lock:
            # Once one is lost all are until what waits is written: then one line says how many,
            # and stands where they would.
            if self._lost or self._bytes + len(line) > _MOST_BYTES:
                self._lost += 1
                is_news = False
            else:
                is_news = is_urgent or not self._waiting
                self._is_urgent |= is_urgent
                self._bytes += len(line)
                self._waiting.append(line)
            if is_news or self._thread is None:
                self._wake()

    def _wake(self) -> None:
        if self._thread is not None:
            self._changed.notify_all()
            return
        thread = threading.Thread(target=self._work, name="log lines", daemon=True)
        with suppress(RuntimeError):  # The system has no more of them; a later line tries again.
            thread.start()
            self._thread = thread

    def _work(self) -> None:
        while lines := self._take():
            for piece in _pieces(lines):
                with suppress(OSError, ValueError):  # It is full, or closed: the line is lost.
                    self._put(piece)
                with self._lock:
                    self._bytes -= len(piece)
            with self._lock:
                self._changed.notify_all()

    def _take(self) -> Sequence[bytes]:
        """Wait for lines and take all there are; none when none came for a while."""
        with self._lock:
            if self._lost and not self._waiting:
                lost, self._lost = self._lost, 0
                self._queue(self.tell(lost), is_urgent=True)
            if self._changed.wait_for(lambda: self._waiting, _IDLE_S):
                self._changed.wait_for(lambda: self._is_urgent, _LINGER_S)
            else:
                self._thread = None
            taken, self._waiting = self._waiting, []
            self._is_urgent = False
            return taken

    def _put(self, piece: bytes) -> None:
        try:
            number = self.file.fileno()
        except OSError:  # It is in memory.
            self.file.write(piece)
            self.file.flush()
            return
        # Not through the file's buffer: a process cannot end while a thread holds that one's lock.
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[os.write(number, rest) :]
            except BlockingIOError:  # Another process that has it said that it must not wait.
                select.select([], [number], [])


def _pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Return lines together, as many as a pipe takes as one piece; a longer one is alone."""
    begin = size = 0
    for end, line in enumerate(lines):
        if size and size + len(line) > _AT_ONCE_BYTES:
            yield b"".join(lines[begin:end])
            begin, size = end, 0
        size += len(line)
    yield b"".join(lines[begin:])


_every: WeakSet[Lines] = WeakSet()


@atexit.register
def drain_all() -> None:
    """Wait until all lines of this process are written, or as long as that is worth it."""
    for lines in list(_every):
        lines.drain()


def _forget_all() -> None:
    """In a process that was forked: leave the lines to the one whose they are, and its thread."""
    for lines in list(_every):
        lines._forget()  # noqa: SLF001 - as if it were new


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_all)
