"""Watching over a request: its deadlines, its client, and the silence on its stream.

One timer per request does it all, so that a chunk costs nothing but a noted time. A deadline or a
client that left cancels the attempt that runs; silence on a stream is broken by a comment.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from groxy.core.errors import ErrorKind, GroxyError

T = TypeVar("T")
_WATCH_CLIENT_AFTER_S = 0.25
"""Most replies are done by then and need no watch; a client that leaves is noticed in time."""
_SLOW_PART = 0.1
"""A client that takes more than this part of all the time is why it did not suffice."""


class Client(Protocol):
    """The client's side of a request, as far as the gateway needs it."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        ...

    async def send(self, body: bytes, *, is_last: bool) -> None:
        """Send a part of the body."""
        ...

    async def gone(self) -> None:
        """Return once the client has left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long things may take, in seconds."""

    first_event_s: float
    idle_s: float
    total_s: float
    keepalive_s: float


class Vigil:
    """Watches one request from its first attempt to its end; an async context manager."""

    def __init__(
        self,
        client: Client,
        deadlines: Deadlines,
        break_silence: Callable[[], Coroutine[None, None, None]] | None,
    ) -> None:
        self._client = client
        self._deadlines = deadlines
        self._break_silence = break_silence
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._task = task
        self._cancelled_before = task.cancelling()
        self._cancelled_for: GroxyError | None = None
        self._is_attempting = False
        self._watch: asyncio.Task[None] | None = None
        self._comment: asyncio.Task[None] | None = None
        self._over: GroxyError | None = None
        now = self._loop.time()
        self._ends_at = now + deadlines.total_s
        self._attempt_since = now
        self._heard_at = 0.0
        self._sent_at = now
        self._sending_since = 0.0
        self._taking_s = 0.0
        """For how long the client was waited for until now, in all."""

    @property
    def is_over(self) -> bool:
        """True when no further attempt makes sense: the client left or time is up."""
        return self._over is not None

    @property
    def has_client_left(self) -> bool:
        """True when nobody is left to answer."""
        return self._over is not None and self._over.kind is ErrorKind.CANCELLED

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._timer = self._loop.call_later(_WATCH_CLIENT_AFTER_S, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._watch, self._comment):
            if task is not None and not task.done():
                task.cancel()
        self._break_silence = None  # It knows who has this object, in a circle.

    async def attempt(self, work: Coroutine[None, None, T], *, is_wait: bool = False) -> T:
        """Run one attempt; it ends with the error when a deadline passes or the client leaves.

        `is_wait`: the work asks no upstream and only lets time pass before an attempt, so nobody
        is late with a first event.
        """
        if self._over is not None:
            work.close()
            raise self._over
        self._attempt_since = self._ends_at if is_wait else self._loop.time()
        self._heard_at = 0.0
        self._cancelled_for, self._is_attempting = None, True
        try:
            return await work
        except asyncio.CancelledError:
            reason = self._reason_of_cancellation()
            if reason is None:
                raise
            raise reason from None
        finally:
            self._is_attempting = False

    def end(self, error: GroxyError) -> None:
        """End the request from outside: nothing further is tried."""
        self._over = error
        self._cancel(error)

    def heard(self) -> None:
        """Note that the upstream sent something."""
        self._heard_at = self._loop.time()

    async def sending(self) -> None:
        """Note that something goes to the client now; wait while a comment is on its way."""
        self._sent_at = self._sending_since = self._loop.time()
        if self._comment is not None:
            await asyncio.wait([self._comment])
            self._comment = None

    def sent(self) -> None:
        """Note that the client took it. As long as it did not, the upstream was not read."""
        self._heard_at = self._loop.time()
        self._taking_s += self._heard_at - self._sending_since
        self._sending_since = 0.0

    def _look(self) -> None:
        """Look at the clock and the client, and come back when something may be due."""
        now = self._loop.time()
        if self._watch is None:
            # Kept in self and cancelled at the end: a task group would cost every request.
            self._watch = self._loop.create_task(self._client.gone())
            self._watch.add_done_callback(self._left)
        error = self._overdue(now)
        if error is not None:
            self._cancel(error)
        elif now >= self._sent_at + self._deadlines.keepalive_s:
            self._sent_at = now
            if self._break_silence is not None and self._may_comment():
                self._comment = self._loop.create_task(self._break_silence())
        self._timer = self._loop.call_at(self._next_look(now), self._look)

    def _overdue(self, now: float) -> GroxyError | None:
        if now >= self._ends_at:
            taking_s = self._taking_s + (now - self._sending_since if self._sending_since else 0.0)
            if taking_s > self._deadlines.total_s * _SLOW_PART:
                # Else whoever reads slowly enough would pay for nothing that they got.
                self._over = GroxyError(ErrorKind.CANCELLED, "The client read too slowly.")
            else:
                self._over = _late("The request took longer than this gateway allows.")
            return self._over
        if now < self._deadline():
            return None
        if self._sending_since:
            self._over = GroxyError(ErrorKind.CANCELLED, "The client stopped reading.")
            return self._over
        if self._heard_at == 0.0:
            return _late("The upstream did not begin to answer in time.")
        return _late("The upstream fell silent in the middle of its answer.")

    def _deadline(self) -> float:
        """Return until when the upstream must be heard of, or the client take what it gets."""
        if self._sending_since:
            return self._sending_since + self._deadlines.idle_s
        if self._heard_at == 0.0:
            return self._attempt_since + self._deadlines.first_event_s
        return self._heard_at + self._deadlines.idle_s

    def _may_comment(self) -> bool:
        """A client that has not taken yet what it was sent is not sent more."""
        return not self._sending_since and (self._comment is None or self._comment.done())

    def _next_look(self, now: float) -> float:
        deadlines = self._deadlines
        # When the next deadline passes as things are now; or, if they change meanwhile, before
        # the one that will hold then.
        due = min(self._ends_at, now + deadlines.idle_s, now + deadlines.first_event_s)
        if self._is_attempting:
            due = min(due, self._deadline())
        if self._break_silence is not None:
            due = min(due, self._sent_at + deadlines.keepalive_s)
        return max(due, now + 0.01)

    def _reason_of_cancellation(self) -> GroxyError | None:
        """Return the error that a cancellation of ours stands for; None when it is another's.

        This is what asyncio.timeout does, less its cost.
        """
        if self._cancelled_for is None or self._task.uncancel() > self._cancelled_before:
            return None
        return self._cancelled_for

    def _left(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self._over = GroxyError(ErrorKind.CANCELLED, "The client closed the connection.")
            self._cancel(self._over)

    def _cancel(self, error: GroxyError) -> None:
        if self._is_attempting and self._cancelled_for is None:
            self._cancelled_for = error
            self._task.cancel()


def _late(message: str) -> GroxyError:
    return GroxyError(ErrorKind.UPSTREAM_TIMEOUT, message + " Try again.")
