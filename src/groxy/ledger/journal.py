"""The books' writer: entries of many requests, committed together.

In: the entries of one request. Out: nothing, once they are durable. While one group is being
committed the next one gathers, so that a commit's cost is shared by all who wait for it, and a
lone request waits for no one. Must not drop an entry it took: `close` writes what is left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.entries import AttemptEntry, EntryWriter, RequestEntry

_Pending = tuple[RequestEntry, Sequence[AttemptEntry], "asyncio.Future[None]"]
_MAX_GROUP = 512
"""Requests in one commit: bounds how long a single one takes."""


class Journal:
    """Takes entries and returns when they are committed."""

    def __init__(self, writer: EntryWriter, *, observe_commit: Callable[[float], None]) -> None:
        self._writer = writer
        self._observe_commit = observe_commit
        self._pending: list[_Pending] = []
        self._work = asyncio.Event()
        self._is_closing = False

    async def record(self, request: RequestEntry, attempts: Sequence[AttemptEntry]) -> None:
        """Enter a request and its attempts; return once they are durable, or raise STORE_DOWN."""
        if self._is_closing:
            raise GroxyError(ErrorKind.STORE_DOWN, "The gateway is shutting down. Try again.")
        committed = asyncio.get_running_loop().create_future()
        self._pending.append((request, attempts, committed))
        self._work.set()
        await committed

    async def run(self) -> None:
        """Commit groups until `close`; the one task of its kind."""
        while not (self._is_closing and not self._pending):
            await self._work.wait()
            self._work.clear()
            while self._pending:
                await self._commit_group()

    async def close(self) -> None:
        """Take no more entries, and let `run` end once all are written."""
        self._is_closing = True
        self._work.set()

    async def _commit_group(self) -> None:
        group, self._pending = self._pending[:_MAX_GROUP], self._pending[_MAX_GROUP:]
        requests = [request for request, _, _ in group]
        attempts = [attempt for _, entries, _ in group for attempt in entries]
        began = time.perf_counter()
        try:
            await self._writer.write(requests, attempts)
        except GroxyError as error:
            for _, _, committed in group:
                if not committed.done():
                    committed.set_exception(_copy(error))
            return
        self._observe_commit(time.perf_counter() - began)
        for _, _, committed in group:
            if not committed.done():
                committed.set_result(None)


def _copy(error: GroxyError) -> GroxyError:
    """Each waiter raises its own: one exception object shared by tasks mixes their tracebacks."""
    return GroxyError(
        error.kind, error.message, detail=error.detail, retry_after_s=error.retry_after_s
    )
