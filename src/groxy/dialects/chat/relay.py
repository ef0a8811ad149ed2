"""Chat streams, same dialect on both sides: relay each event, mend what clients choke on.

In: an upstream's bytes, split anywhere. Out: bytes for the caller. An event that needs nothing is
passed on untouched; it is decoded only as far as the books and the mends need. Mended are: roles
(first delta of a choice has it, later ones do not), cumulative usage on every chunk (taken out),
finish reasons outside OpenAI's set, tool calls without index or type, numbers where text belongs,
OpenRouter's `reasoning` (also given as `reasoning_content`). `[DONE]` and usage are held back for
`finish`. Must not talk to anyone and must not price anything.
"""

from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, Tally, UsageRules
from groxy.dialects.chat import usage as chat_usage
from groxy.dialects.chat.mend import (
    FINISH_REASONS,
    Choice,
    Delta,
    finish_reason_of,
    has_whole_calls,
    is_error,
    mended_delta,
    text_of,
    whole_as_chunks,
)
from groxy.wire.json import UNREADABLE, decode_any, encode
from groxy.wire.sse import DONE, SseReader

_NULL = b"null"
_SEPARATOR = b"\n\ndata: "


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Chunk).decode


class ChatRelay:
    """One streamed reply on its way to the caller; see `dialects._base.StreamRelay`."""

    def __init__(self, *, wants_usage: bool, rules: UsageRules) -> None:
        self.tally = Tally()
        self.failure: Exception | None = None
        self._wants_usage = wants_usage
        self._rules = rules
        self._sse = SseReader()
        self._spoken: set[int] = set()
        self._opening: set[int] = set()
        self._finished: set[int] = set()
        self._calls: dict[int, list[str]] = {}
        self._created: int | float = 0
        self._usage_raw = msgspec.Raw(b"")
        self._usage_event = b""
        self._is_done = False

    @property
    def is_complete(self) -> bool:
        """True once every choice that began has ended, or the upstream said `[DONE]`."""
        if self.failure is not None:
            return False
        if self._finished:
            return self._is_done or self._finished >= self._spoken
        return self._is_done and self.tally.has_output

    @property
    def is_done(self) -> bool:
        """True once the upstream said `[DONE]`."""
        return self._is_done

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        if self._is_done:
            return b""
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure, self._is_done = error, True
            return b""
        return self._relay(events)

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        if self._is_done:
            return b""
        passed = self._relay(self._sse.close())
        if isinstance(self.failure, GroxyError):
            # Half an event: the cut itself is what went wrong, not how the half reads.
            self.failure, self._is_done = None, False
        return passed

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream."""
        events = [(b"", chunk) for chunk in whole_as_chunks(body)]
        return self._relay([*events, (b"", DONE)])

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported, if it makes sense."""
        return chat_usage.read_usage(self._usage_raw, self._rules) if self._usage_raw else None

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream: missing finish reasons, usage if asked for, `[DONE]`."""
        chunks = [
            self._chunk([{"index": index, "delta": {}, "finish_reason": self._reason(index)}])
            for index in sorted(self._spoken - self._finished)
        ]
        if self._wants_usage:
            chunks.append(self._usage_chunk(usage))
        return b"".join(b"data: " + chunk + b"\n\n" for chunk in (*chunks, DONE))

    def _relay(self, events: list[tuple[bytes, bytes]]) -> bytes:
        passed: list[bytes] = []
        for _, data in events:
            if data.startswith(DONE):
                self._is_done = True
                break
            try:
                event = self._take(data)
            except (EmbeddedError, GroxyError) as error:
                # What came before it in the same chunk still goes to the caller.
                self.failure, self._is_done = error, True
                break
            if event:
                passed.append(event)
        return b"data: " + _SEPARATOR.join(passed) + b"\n\n" if passed else b""

    def _take(self, data: bytes) -> bytes:
        """Read one event; return what of it goes to the caller, mended where needed."""
        try:
            chunk = _decode(data)
        except UNREADABLE as error:
            raise self._garbage(error) from None
        if is_error(chunk.error):
            raise EmbeddedError(data)
        if not self.tally.reply_id:
            self.tally.reply_id, self._created = chunk.id or "", chunk.created or 0
        if chunk.model:
            self.tally.model_served = chunk.model
        has_usage = bytes(chunk.usage) not in (b"", _NULL)
        if has_usage:
            self._usage_raw = chunk.usage
        choices = chunk.choices
        if not choices:
            if has_usage:
                self._usage_event = data
            return b""
        needs_mending = has_usage or b"\n" in data
        for choice in choices:
            if choice.finish_reason == "error":
                raise EmbeddedError(data)  # OpenRouter: a choice can fail without an error object.
            needs_mending |= self._note(choice)
        passed = self._mended(data) if needs_mending else data
        self._opening.clear()
        return passed

    def _note(self, choice: Choice) -> bool:
        """Take a choice into the tally; return whether it has to be mended."""
        delta, index = choice.delta, choice.index
        needs_mending = delta is None
        if index not in self._spoken:
            self._spoken.add(index)
            self._opening.add(index)
            needs_mending |= delta is not None and delta.role != "assistant"
        elif delta is not None and delta.role is not msgspec.UNSET:
            needs_mending = True
        if delta is not None:
            needs_mending |= self._note_delta(delta, index)
        reason = choice.finish_reason
        if reason is not None:
            known = finish_reason_of(reason, has_calls=has_whole_calls(delta))
            if known is not None:
                self._finished.add(index)
                self.tally.finish_reason = known
            needs_mending |= reason not in FINISH_REASONS
            self.tally.has_output = True
        return needs_mending

    def _note_delta(self, delta: Delta, index: int) -> bool:
        needs_mending = False
        content = delta.content
        if content is not None and type(content) is not str:
            content, needs_mending = text_of(content), True
        if content:
            self.tally.output.append(content)
            self.tally.has_output = True
        thoughts = delta.reasoning_content or delta.reasoning
        if thoughts:
            self.tally.output.append(thoughts)
            self.tally.has_output = True
            needs_mending |= not delta.reasoning_content
        for call in delta.tool_calls or ():
            self.tally.has_output = True
            needs_mending |= call.index is None or (call.id is not None and call.type != "function")
            known = self._calls.setdefault(index, [])
            if call.id and call.id not in known:
                known.append(call.id)
            if call.function is not None:
                self.tally.output.append(
                    (call.function.name or "") + (call.function.arguments or "")
                )
        return needs_mending

    def _mended(self, data: bytes) -> bytes:
        try:
            chunk = decode_any(data)
        except UNREADABLE as error:
            raise self._garbage(error) from None
        chunk.pop("usage", None)
        for choice in chunk["choices"]:
            index = choice.get("index") or 0
            calls = self._calls.get(index, [])
            if choice.get("finish_reason") is not None:
                has_calls = bool(calls) and index in self._finished
                reason = finish_reason_of(choice["finish_reason"], has_calls=has_calls)
                choice["finish_reason"] = reason
            delta = choice.get("delta") or {}
            choice["delta"] = mended_delta(delta, calls, is_first=index in self._opening)
            self._opening.discard(index)
        return encode(chunk)

    def _usage_chunk(self, usage: Usage) -> bytes:
        written = chat_usage.written_usage(usage, self._usage_raw)
        try:
            chunk = decode_any(self._usage_event)
        except UNREADABLE:  # There was none, or none that can be read all the way.
            return self._chunk([], usage=written)
        return encode(chunk | {"choices": [], "usage": written})

    def _chunk(self, choices: list[dict[str, Any]], **extra: object) -> bytes:
        head = {
            "id": self.tally.reply_id,
            "object": "chat.completion.chunk",
            "created": int(self._created),
            "model": self.tally.model_served,
            "choices": choices,
        }
        return encode(head | extra)

    def _reason(self, index: int) -> str:
        return "tool_calls" if index in self._calls else "stop"

    @staticmethod
    def _garbage(error: Exception) -> GroxyError:
        return GroxyError(
            ErrorKind.BAD_REPLY,
            "The upstream sent an event that could not be read.",
            detail=f"{type(error).__name__}: {error}",
        )
