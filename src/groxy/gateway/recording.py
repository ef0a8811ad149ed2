"""A recording: what one request with an idempotency key is answered, for everybody who asks it.

In: a reply as an endpoint sends it, status and bytes. Out: the same bytes to any number of
followers, each at its own pace and from the first one on. The last bytes, and a reply that comes
in one piece, are shown only when the books have the request. Memory is bounded: what is larger is
passed on to those who listen already, and forgotten. Must not store anything and knows no wire
format.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.kept import KeptRow

MAX_BYTES = 64 * 1024 * 1024
"""Of one reply that can be replayed."""

Headers = list[tuple[bytes, bytes]]
Enter = Callable[[Sequence[KeptRow]], Coroutine[Any, Any, GroxyError | None]]
"""Enters a request in the books together with some rows; returns why that was not possible."""


@dataclass(slots=True, eq=False)
class Recording:
    """The reply to one request while it is made, and until its last follower has it.

    It is the endpoint's client (`vigil.Client`), one that never leaves.
    """

    name: str
    """The id under which it is kept."""
    _: KW_ONLY
    owner: str
    request_id: str
    """Of the request that was really run."""
    fingerprint: bytes
    """Of that request's path and body; sure once it is decided who runs."""
    max_bytes: int = MAX_BYTES
    status: int = 0
    headers: Headers = field(default_factory=list)
    reason: ErrorKind | None = None
    """The kind of error that the request ended with."""
    enter: Enter | None = None
    """What enters the request in the books, once all is sent."""
    is_decided: bool = False
    """True when it is known which request this is the reply to."""
    is_shown: bool = False
    """True once a part of it was for followers to see."""
    is_complete: bool = False
    """True when the endpoint sent the end of the body."""
    is_over: bool = False
    """True when there is nothing more to come for followers."""
    is_broken: bool = False
    """True when the reply broke off, so that its end is missing."""
    is_too_large: bool = False
    is_spooled: bool = False
    """True when the books have it in a file, because the database was away."""
    is_overtaken: bool = False
    """True when another process runs the request, too: then this run of it is free."""
    is_replay: bool = False
    """True when nothing was run: the reply is that of an earlier request."""
    failure: GroxyError | None = None
    """What to tell in place of a reply."""
    stream_error: Callable[[GroxyError], bytes] | None = None
    """Writes an error into a stream that has begun."""
    _pieces: list[bytes] = field(default_factory=list)
    _dropped: int = 0
    """How many pieces before those are forgotten."""
    _size: int = 0
    _last: bytes = b""
    _followers: "set[Follower]" = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # ------------------------------------------------------------------------- the endpoint's side

    async def start(self, status: int, headers: Headers) -> None:
        """Note status and headers."""
        self.status, self.headers = status, headers

    async def send(self, body: bytes, *, is_last: bool) -> None:
        """Record a part of the body; wait while it is too large and somebody reads slowly."""
        self._size += len(body)
        if self._size > self.max_bytes:
            self.is_too_large = True
        if is_last:
            self._last, self.is_complete = body, True
            return
        self.is_shown = True
        if body:
            self._pieces.append(body)
        self._tell()
        if self.is_too_large:
            await self._make_room()

    async def gone(self) -> None:
        """Never return: what is recorded is for those who ask again, too."""
        await asyncio.Event().wait()

    def postpone(self, enter: Enter, error: GroxyError | None) -> bool:
        """Take over the entry of a request; False when this has one already.

        It is entered when all of the reply is known, so that both become durable at once.
        """
        if self.enter is not None:
            return False
        self.enter, self.reason = enter, error.kind if error is not None else None
        return True

    # --------------------------------------------------------------------------- the keeper's side

    @property
    def body(self) -> bytes:
        """The whole body, if it is complete and not too large."""
        return b"".join([*self._pieces, self._last])

    def decide(self) -> None:
        """Say that this request runs, and no other."""
        self.is_decided = True
        self._tell()

    def load(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a stored reply for the whole of this one."""
        self.status, self.headers, self._last = status, headers, body
        self.is_complete = self.is_replay = True
        self.end()

    def end(self) -> None:
        """Show the last bytes."""
        if self._last:
            self._pieces.append(self._last)
            self._last = b""
        self.is_over = True
        self.is_decided = True
        self._tell()

    def fail(self, error: GroxyError) -> None:
        """Tell an error in place of what was not shown yet."""
        if self.is_over:
            return
        self.failure, self._last = error, b""
        if self.is_shown:
            self.is_broken = self.stream_error is None
            if self.stream_error is not None:
                self._pieces.append(self.stream_error(error))
        self.end()

    # ------------------------------------------------------------------------ the followers' side

    def follow(self) -> "Follower":
        """Return a new reader of all of it; raise CONFLICT when its beginning is forgotten."""
        if self._dropped:
            raise too_large()
        follower = Follower(self)
        self._followers.add(follower)
        return follower

    def leave(self, follower: "Follower") -> None:
        """Do not wait for a follower any more."""
        self._followers.discard(follower)
        self._tell()

    @property
    def is_begun(self) -> bool:
        """True when status and headers are to be sent."""
        return self.is_shown or self.is_over

    def piece(self, number: int) -> bytes | None:
        """Return a piece, the first one is 0; None when there is none yet."""
        at = number - self._dropped
        return self._pieces[at] if at < len(self._pieces) else None

    def is_end(self, number: int) -> bool:
        """True when there will be no piece of this number."""
        return self.is_over and number >= self._dropped + len(self._pieces)

    async def change(self) -> None:
        """Return when something changed."""
        await self._changed.wait()

    def note_progress(self) -> None:
        """Say that a follower took a piece: there may be room again."""
        if self.is_too_large:
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _make_room(self) -> None:
        """Forget what all followers have; wait while more than the bound is left."""
        while True:
            taken = min((one.number for one in self._followers), default=None)
            count = len(self._pieces) if taken is None else taken - self._dropped
            self._dropped += count
            del self._pieces[:count]
            if sum(map(len, self._pieces)) <= self.max_bytes:
                return
            await self.change()


class Follower:
    """Somebody who reads a recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._was_stopped = False
        self.number = 0
        """The piece that comes next."""

    async def decided(self) -> None:
        """Return once it is known which request the recording is the reply to."""
        while not self._recording.is_decided:
            await self._change()

    async def head(self) -> tuple[int, Headers]:
        """Return status and headers; raise what is told in place of a reply."""
        recording = self._recording
        while not recording.is_begun:
            await self._change()
        if recording.failure is not None and not recording.is_shown:
            raise _copy(recording.failure)
        return recording.status, recording.headers

    async def read(self) -> tuple[bytes, bool]:
        """Return the next piece, and whether it is the last one."""
        recording = self._recording
        while (piece := recording.piece(self.number)) is None:
            if recording.is_end(self.number):
                return b"", True
            await self._change()
        self.number += 1
        recording.note_progress()
        return piece, recording.is_end(self.number)

    async def _change(self) -> None:
        try:
            await self._recording.change()
        except asyncio.CancelledError:
            # The gateway stops. What is recorded is ended, too, and says so to everybody.
            if self._was_stopped:
                raise
            self._was_stopped = True


def _copy(error: GroxyError) -> GroxyError:
    """Each follower raises its own: one exception shared by tasks mixes their tracebacks."""
    copied = GroxyError(
        error.kind,
        error.message,
        param=error.param,
        code=error.code,
        detail=error.detail,
        retry_after_s=error.retry_after_s,
    )
    copied.headers = error.headers
    return copied


def too_large() -> GroxyError:
    """Return what is told of a reply that is too large to be replayed."""
    message = (
        f"The reply to this `idempotency-key` was larger than {MAX_BYTES >> 20} MiB, so it was not "
        "kept. It was made and paid for, and is not made again. Send another key to ask anew."
    )
    return GroxyError(
        ErrorKind.CONFLICT, message, param="idempotency-key", code="idempotency_result_too_large"
    )
