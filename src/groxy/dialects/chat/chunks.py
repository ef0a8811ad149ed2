"""An upstream's chat stream, chunk by chunk: what `relay` and `decoder` have in common.

In: bytes, split anywhere. Out: what a subclass makes of each chunk. It never raises on what an
upstream sends: `failure` is set, and what came before it is still returned.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _completion_usage as chat_usage
from groxy.dialects._base import EmbeddedError, UsageRules
from groxy.dialects._embedded import is_there
from groxy.dialects.chat.halves import Halves, may_have_halves
from groxy.dialects.chat.mend import (
    ABSENT,
    Call,
    Choice,
    Delta,
    finish_reason_of,
    has_whole_calls,
)
from groxy.dialects.chat.numbering import Calls
from groxy.wire.json import UNREADABLE
from groxy.wire.sse import DONE, SseEvent, SseReader

_NULL = b"null"

Piece = TypeVar("Piece")


class Chunk(msgspec.Struct):
    """A chunk of a stream, or a whole reply: as much as the books and the mends need."""

    id: str | None = None
    model: str | None = None
    created: msgspec.Raw = ABSENT
    choices: list[Choice] | None = None
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    citations: msgspec.Raw = ABSENT


_decode = msgspec.json.Decoder(Chunk).decode
_decode_number = msgspec.json.Decoder(float).decode


class ChunkStream(ABC, Generic[Piece]):
    """Reads one reply; a subclass says in `_take` what becomes of each chunk."""

    def __init__(self, rules: UsageRules) -> None:
        self.failure: Exception | None = None
        self._rules = rules
        self._sse = SseReader()
        self._spoken: set[int] = set()
        self._finished: set[int] = set()
        self._calls: dict[int, Calls] = {}
        self._halves = Halves()
        self._usage_raw = ABSENT
        self._is_done = False

    @property
    def is_complete(self) -> bool:
        """True once every choice that began has ended, or the upstream said `[DONE]`."""
        if self.failure is not None:
            return False
        if self._finished:
            return self._is_done or self._finished >= self._spoken
        return self._is_done and self._has_output

    @property
    def is_done(self) -> bool:
        """True once the upstream said `[DONE]`, or something that went wrong."""
        return self._is_done

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported, if it makes sense."""
        return chat_usage.read_usage(self._usage_raw, self._rules) if self._usage_raw else None

    @property
    @abstractmethod
    def _has_output(self) -> bool:
        """True once there was anything of an answer."""

    @abstractmethod
    def _take(self, data: bytes) -> Piece:
        """Return what becomes of one chunk; raise `EmbeddedError` or `GroxyError` when it broke."""

    def _fed(self, chunk: bytes) -> list[Piece]:
        if self._is_done:
            return []
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure, self._is_done = error, True
            return []
        return self._pieces(events)

    def _rest(self) -> list[Piece]:
        """Return the pieces that the end of the upstream's stream completes."""
        if self._is_done:
            return []
        pieces = self._pieces(self._sse.close())
        if isinstance(self.failure, GroxyError):
            # Half an event: the cut itself is what went wrong, not how the half reads.
            self.failure, self._is_done = None, False
        return pieces + self._held_back() if self.failure is None else pieces

    def _pieces(self, events: Iterable[SseEvent]) -> list[Piece]:
        pieces: list[Piece] = []
        for _, data in events:
            if data.startswith(DONE):
                self._is_done = True
                pieces += self._held_back()
                break
            try:
                piece = self._take(data)
            except (EmbeddedError, GroxyError) as error:
                # What came before it in the same chunk still goes to the caller.
                self.failure, self._is_done = error, True
                break
            if piece:
                pieces.append(piece)
        return pieces

    def _held_back(self) -> list[Piece]:
        """Return what becomes of half characters that nothing came to complete."""
        data = self._halves.rest()
        return [self._take(data)] if data else []

    def _read(self, data: bytes) -> tuple[Chunk, bytes]:
        """Read one chunk; an error in its place is raised, its usage is kept.

        Returned with it are its bytes, which are others than `data` where half characters were in.
        """
        if self._halves.held:
            chunk, data = self._read_mended(data)
        else:
            try:
                chunk = _decode(data)
            except UNREADABLE as error:
                if not may_have_halves(data):
                    raise garbage(error) from None
                chunk, data = self._read_mended(data)
        if chunk.error is not ABSENT and is_there(chunk.error):
            raise EmbeddedError(data)
        if chunk.usage is not ABSENT:
            if bytes(chunk.usage) == _NULL:
                chunk.usage = ABSENT
            else:
                self._usage_raw = chunk.usage
        return chunk, data

    def _read_mended(self, data: bytes) -> tuple[Chunk, bytes]:
        data = self._halves.mended(data)
        try:
            return _decode(data), data
        except UNREADABLE as error:
            raise garbage(error) from None

    def _settle(self, fragment: Call, choice: int) -> bool:
        """Give a fragment of a call its call's index; return whether anything in it changed."""
        calls = self._calls.get(choice)
        if calls is None:
            calls = self._calls[choice] = Calls()
        return calls.settle(fragment)

    def _end(self, choice: Choice, delta: Delta | None) -> str | None:
        """Note the finish reason of a choice; return OpenAI's word for it, if it ends one."""
        reason = finish_reason_of(choice.finish_reason, has_calls=has_whole_calls(delta))
        if reason is not None:
            self._finished.add(choice.index)
        return reason

    def _reason_for(self, index: int) -> str:
        """Return why a choice ended that did not say so itself."""
        return "tool_calls" if index in self._calls else "stop"


def seconds_of(raw: msgspec.Raw) -> int:
    """Return when a reply was made, in Unix seconds; 0 when it does not say, or says nonsense."""
    try:
        return int(_decode_number(raw))
    except UNREADABLE:
        return 0


def garbage(error: Exception) -> GroxyError:
    """Return the error for an event that could not be read; nothing of the event is in it."""
    return GroxyError(
        ErrorKind.BAD_REPLY,
        "The upstream sent an event that could not be read.",
        detail=f"{type(error).__name__}: {error}",
    )
