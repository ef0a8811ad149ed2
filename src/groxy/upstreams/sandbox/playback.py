"""Steps played in time: waits are slept, bytes come out, a cut breaks off.

In: the steps of a reply. Out: its bytes, as an asynchronous iterator that can be closed at any
time. Bytes with no wait between them come in one portion, as they would from a fast network. Must
not know what the bytes say.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from time import monotonic

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.plan import CUT, Cut, Step, Wait, Work

_BATCH_BYTES = 16 * 1024
_SHORTEST_SLEEP_S = 0.001
_CATCH_UP_S = 0.25
"""How far a paced stream hurries after it was held up."""


@dataclass(slots=True)
class Counts:
    """How many replies there were, are, and how many were left before their end."""

    requests: int = 0
    open_replies: int = 0
    abandoned: int = 0


class Playback:
    """Plays one reply. `joins` is False when each step must stay a portion of its own."""

    __slots__ = ("_counts", "_due", "_is_over", "_is_resumed", "_joins", "_steps")

    def __init__(self, steps: Iterable[Step], counts: Counts, *, joins: bool = True) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self._counts = counts
        self._joins = joins
        self._due = 0.0
        self._is_over = False
        self._is_resumed = False
        counts.open_replies += 1

    def __aiter__(self) -> "Playback":
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        if self._is_resumed:
            await asyncio.sleep(0)  # A long answer without waits lets others have their turn.
        self._is_resumed = True
        pieces: list[bytes] = []
        size = 0
        while True:
            if self._due and (delay_s := self._due - monotonic()) > _SHORTEST_SLEEP_S:
                if pieces:
                    return b"".join(pieces)
                await asyncio.sleep(delay_s)
            step = next(self._steps, None)
            if isinstance(step, Wait):
                self._put_off(step.seconds)
            elif isinstance(step, Work):
                self._steps = chain(await asyncio.to_thread(step.run), self._steps)
            elif isinstance(step, bytes):
                pieces.append(step)
                size += len(step)
                if not self._joins or size >= _BATCH_BYTES:
                    return b"".join(pieces)
            else:
                return self._end(step, b"".join(pieces))

    def close(self) -> None:
        """Stop; what was not played is dropped."""
        if not self._is_over:
            self._counts.abandoned += 1
            self._leave()

    def _put_off(self, seconds: float) -> None:
        """Let the next step come `seconds` after this one was due."""
        now = monotonic()
        self._due = seconds + (self._due if self._due > now - _CATCH_UP_S else now)

    def _end(self, step: Cut | None, last: bytes) -> bytes:
        """Return the last bytes; when there are none, raise what ends the iteration."""
        if step is not None and last:
            self._steps = iter((CUT,))
            return last
        self._leave()
        if step is not None:
            raise GroxyError(
                ErrorKind.STREAM_BROKEN,
                "The upstream broke off its reply.",
                detail="the sandbox was asked to drop the connection",
            )
        if not last:
            raise StopAsyncIteration
        return last

    def _leave(self) -> None:
        self._is_over = True
        self._steps = iter(())
        self._counts.open_replies -= 1
