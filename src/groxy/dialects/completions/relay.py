"""Completions streams, same dialect on both sides: events are passed on, their usage is taken out.

In: an upstream's bytes, split anywhere. Out: bytes for the caller. `[DONE]` and usage are held back
for `finish`. An event without usage is passed on as it came.
"""

from collections.abc import Iterable

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _completion_usage as token_usage
from groxy.dialects._base import Counting, EmbeddedError, Tally, UsageRules
from groxy.dialects._embedded import is_there
from groxy.dialects._openai import encode_stream_error
from groxy.dialects.completions.shapes import (
    ABSENT,
    Reply,
    decode_reply,
    seconds_of,
    text_of,
)
from groxy.wire.json import UNREADABLE, decode_any, encode
from groxy.wire.sse import DONE, SseEvent, SseReader


class CompletionsRelay:
    """One streamed reply on its way to the caller; see `dialects._base.StreamRelay`."""

    record = b""

    def __init__(
        self, *, wants_usage: bool, rules: UsageRules, counting: Counting = Counting.OPENAI
    ) -> None:
        self.tally = Tally()
        self.failure: Exception | None = None
        self._wants_usage = wants_usage
        self._rules = rules
        self._counting = counting
        self._sse = SseReader()
        self._spoken: set[int] = set()
        self._finished: set[int] = set()
        self._usage_raw = ABSENT
        self._created = 0
        self._is_done = False
        self._is_cut = False

    @property
    def is_complete(self) -> bool:
        """True once every choice that began has ended, the upstream said so, or it was cut."""
        if self.failure is not None:
            return False
        if self._is_cut:
            return True
        if self._finished:
            return self._is_done or self._finished >= self._spoken
        return self._is_done and self.tally.has_output

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
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

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream: its choices fit in one chunk."""
        return self._relay([(b"", body), (b"", DONE)])

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        if self._is_done:
            return b""
        passed = self._relay(self._sse.close())
        if isinstance(self.failure, GroxyError):
            # Half an event: the cut itself is what went wrong, not how the half reads.
            self.failure, self._is_done = None, False
        return passed

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported, if it makes sense."""
        return token_usage.read_usage(self._usage_raw, self._rules)

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream: missing finish reasons, usage if asked for, `[DONE]`."""
        reason = "length" if self._is_cut else "stop"
        ends = [
            self._event([{"index": at, "text": "", "logprobs": None, "finish_reason": reason}])
            for at in sorted(self._spoken - self._finished)
        ]
        if self._wants_usage:
            written = token_usage.written_usage(usage, self._usage_raw, counting=self._counting)
            ends.append(self._event([], usage=written))
        return b"".join(ends) + b"data: " + DONE + b"\n\n"

    def _event(self, choices: list[dict[str, object]], **more: object) -> bytes:
        head = {
            "id": self.tally.reply_id,
            "object": "text_completion",
            "created": self._created,
            "model": self.tally.model_served,
            "choices": choices,
        }
        return b"data: " + encode(head | more) + b"\n\n"

    def cut(self) -> bytes:
        """End the reply for its length; the choices that are not at their end say so."""
        if not self.is_complete and self.failure is None:
            self._is_cut = self._is_done = True
            self.tally.finish_reason = "length"
        return b""

    def fail(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off."""
        return encode_stream_error(error)

    def _relay(self, events: Iterable[SseEvent]) -> bytes:
        passed = b""
        for _, data in events:
            if data.startswith(DONE):
                self._is_done = True
                break
            try:
                passed += self._take(data)
            except (EmbeddedError, GroxyError) as error:
                self.failure, self._is_done = error, True
                break
        return passed

    def _take(self, data: bytes) -> bytes:
        try:
            chunk = decode_reply(data)
        except UNREADABLE as error:
            raise _garbage(error) from None
        if is_there(chunk.error):
            raise EmbeddedError(data)
        self._note(chunk)
        if is_there(chunk.usage):
            self._usage_raw = chunk.usage
        if not chunk.choices:
            return b""
        if chunk.usage is not ABSENT or b"\n" in data:
            data = _without_usage(data)
        return b"data: " + data + b"\n\n"

    def _note(self, chunk: Reply) -> None:
        tally = self.tally
        if not tally.reply_id:
            tally.reply_id, self._created = chunk.id or "", seconds_of(chunk.created)
        tally.model_served = chunk.model or tally.model_served
        for choice in chunk.choices or ():
            self._spoken.add(choice.index)
            if text := text_of(choice.text):
                tally.output.append(text)
                tally.has_output = True
            if choice.finish_reason:
                self._finished.add(choice.index)
                tally.finish_reason = choice.finish_reason
                tally.has_output = True


def _without_usage(data: bytes) -> bytes:
    try:
        chunk = decode_any(data)
    except UNREADABLE as error:
        raise _garbage(error) from None
    chunk.pop("usage", None)
    return encode(chunk)


def _garbage(error: Exception) -> GroxyError:
    return GroxyError(
        ErrorKind.BAD_REPLY,
        "The upstream sent an event that could not be read.",
        detail=f"{type(error).__name__}: {error}",
    )
