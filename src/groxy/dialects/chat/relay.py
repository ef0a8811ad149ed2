"""Chat streams, same dialect on both sides: relay each event, mend what clients choke on.

In: an upstream's bytes, split anywhere. Out: bytes for the caller. An event that needs nothing is
passed on untouched; it is decoded only as far as the books and the mends need. Mended are: roles
(first delta of a choice has it, later ones do not), cumulative usage on every chunk (taken out),
finish reasons outside OpenAI's set, tool calls without index or type, or that share an index or
repeat their id, numbers where text belongs, half characters, OpenRouter's `reasoning` (also given
as `reasoning_content`). `[DONE]` and usage are held back for `finish`. Must not talk to anyone and
must not price anything.
"""

from typing import Any

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _completion_usage as chat_usage
from groxy.dialects._base import Counting, EmbeddedError, Tally, UsageRules
from groxy.dialects._openai import encode_error
from groxy.dialects.chat.chunks import ChunkStream, garbage, seconds_of
from groxy.dialects.chat.mend import (
    ABSENT,
    FINISH_REASONS,
    Choice,
    Delta,
    finish_reason_of,
    mended_delta,
    text_of,
    whole_as_chunks,
)
from groxy.wire.json import UNREADABLE, decode_any, encode
from groxy.wire.sse import DONE

_SEPARATOR = b"\n\ndata: "


class ChatRelay(ChunkStream[bytes]):
    """One streamed reply on its way to the caller; see `dialects._base.StreamRelay`."""

    record = b""

    def __init__(
        self,
        *,
        wants_usage: bool,
        rules: UsageRules,
        wants_cost: bool = False,
        counting: Counting = Counting.OPENAI,
    ) -> None:
        super().__init__(rules)
        self.tally = Tally()
        self._wants_usage = wants_usage
        self._wants_cost = wants_cost
        self._counting = counting
        self._opening: set[int] = set()
        self._created = 0
        self._usage_event = b""
        self._is_cut = False

    @property
    def is_complete(self) -> bool:
        """True once every choice that began has ended, the upstream said so, or it was cut."""
        return self._is_cut or super().is_complete

    @property
    def _has_output(self) -> bool:
        return self.tally.has_output

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        return _joined(self._fed(chunk))

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        return _joined(self._rest())

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream."""
        events = [(b"", chunk) for chunk in whole_as_chunks(body)]
        return _joined(self._pieces([*events, (b"", DONE)]))

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream: missing finish reasons, usage if asked for, `[DONE]`."""
        chunks = [
            self._chunk([{"index": index, "delta": {}, "finish_reason": self._reason_for(index)}])
            for index in sorted(self._spoken - self._finished)
        ]
        if self._wants_usage:
            chunks.append(self._usage_chunk(usage))
        return b"".join(b"data: " + chunk + b"\n\n" for chunk in (*chunks, DONE))

    def cut(self) -> bytes:
        """End the reply for its length; the choices that are not at their end say so."""
        if not self.is_complete and self.failure is None:
            self._is_cut = self._is_done = True
            self.tally.finish_reason = "length"
        return b""

    def fail(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return b"data: " + encode_error(error) + b"\n\n"

    def _take(self, data: bytes) -> bytes:
        """Read one event; return what of it goes to the caller, mended where needed."""
        chunk, data = self._read(data)
        if not self.tally.reply_id:
            self.tally.reply_id, self._created = chunk.id or "", seconds_of(chunk.created)
        if chunk.model:
            self.tally.model_served = chunk.model
        has_usage = chunk.usage is not ABSENT
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
        passed = self._mended(data, choices) if needs_mending else data
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
            known = self._end(choice, delta)
            if known is not None:
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
            needs_mending |= self._settle(call, index)
            needs_mending |= call.id is not None and call.type != "function"
            if call.id:
                self.tally.call_ids.append(call.id)
            if call.function is not None:
                name = call.function.name or ""
                if name:
                    self.tally.called.append(name)
                self.tally.output.append(name + (call.function.arguments or ""))
        return needs_mending

    def _mended(self, data: bytes, choices: list[Choice]) -> bytes:
        try:
            chunk = decode_any(data)
        except UNREADABLE as error:
            raise garbage(error) from None
        chunk.pop("usage", None)
        for choice, noted in zip(chunk["choices"], choices, strict=True):
            index = noted.index
            if choice.get("finish_reason") is not None:
                has_calls = index in self._calls and index in self._finished
                reason = finish_reason_of(choice["finish_reason"], has_calls=has_calls)
                choice["finish_reason"] = reason
            delta = choice.get("delta") or {}
            calls = (noted.delta.tool_calls if noted.delta is not None else None) or ()
            choice["delta"] = mended_delta(delta, calls, is_first=index in self._opening)
            self._opening.discard(index)
        return encode(chunk)

    def _reason_for(self, index: int) -> str:
        return "length" if self._is_cut else super()._reason_for(index)

    def _usage_chunk(self, usage: Usage) -> bytes:
        written = chat_usage.written_usage(
            usage, self._usage_raw, counting=self._counting, with_cost=self._wants_cost
        )
        try:
            chunk = decode_any(self._usage_event)
        except UNREADABLE:  # There was none, or none that can be read all the way.
            return self._chunk([], usage=written)
        return encode(chunk | {"choices": [], "usage": written})

    def _chunk(self, choices: list[dict[str, Any]], **extra: object) -> bytes:
        head = {
            "id": self.tally.reply_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.tally.model_served,
            "choices": choices,
        }
        return encode(head | extra)


def _joined(events: list[bytes]) -> bytes:
    return b"data: " + _SEPARATOR.join(events) + b"\n\n" if events else b""
