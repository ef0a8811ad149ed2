"""The books' writer: entries of many requests, committed together.

In: the entries of one request. Out: nothing, once they are durable. While one group is being
committed the next one gathers, so that a commit's cost is shared by all who wait for it, and a
lone request waits for no one. Must not drop an entry it took: `close` writes what is left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.entries import AttemptEntry, EntryWriter, Group, RequestEntry
from groxy.store.kept import KeptRow

_Pending = tuple[RequestEntry, Sequence[AttemptEntry], Sequence[KeptRow], "asyncio.Future[None]"]
_MAX_GROUP = 512
"""Requests in one commit: bounds how long a single one takes."""


class Journal:
    """Takes entries and tells when they are committed."""

    def __init__(self, writer: EntryWriter, *, observe_commit: Callable[[float], None]) -> None:
        self._writer = writer
        self._observe_commit = observe_commit
        self._pending: list[_Pending] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closing = False

    def submit(
        self,
        request: RequestEntry,
        attempts: Sequence[AttemptEntry],
        kept: Sequence[KeptRow] = (),
    ) -> "asyncio.Future[None]":
        """Enter a request and its attempts; the future ends once they are durable.

        `kept` is what the request leaves behind; it is there if and only if the entry is.

        It ends with STORE_DOWN when they could not be written. Whether anybody waits for it makes
        no difference to the entries.
        """
        if self._is_closing:
            raise GroxyError(ErrorKind.STORE_DOWN, "The gateway is shutting down. Try again.")
        committed = asyncio.get_running_loop().create_future()
        self._pending.append((request, attempts, kept, committed))
        if self._idle.is_set():
            self._idle.clear()
            self._begin_group()
        return committed

    async def close(self) -> None:
        """Take no more entries, and return once all are written."""
        self._is_closing = True
        await self._idle.wait()

    def _begin_group(self) -> None:
        """Hand what is pending to the writer; the rest gathers until that is done."""
        group, self._pending = self._pending[:_MAX_GROUP], self._pending[_MAX_GROUP:]
        written = self._writer.submit(
            Group(
                [request for request, _, _, _ in group],
                [attempt for _, entries, _, _ in group for attempt in entries],
                [row for _, _, rows, _ in group for row in rows],
            )
        )
        written.add_done_callback(partial(self._end_group, group, time.perf_counter()))

    def _end_group(
        self, group: list[_Pending], began: float, written: "asyncio.Future[None]"
    ) -> None:
        error = _fate_of(written)
        if error is None:
            self._observe_commit(time.perf_counter() - began)
        for *_, committed in group:
            if committed.done():
                continue  # Nobody waits any more; the entry is written all the same.
            if error is None:
                committed.set_result(None)
            else:
                committed.set_exception(_copy(error))
        if self._pending:
            self._begin_group()
        else:
            self._idle.set()


def _fate_of(written: "asyncio.Future[None]") -> BaseException | None:
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
