"""Chat replies of upstreams read as events, for callers that asked in another dialect.

In: an upstream's bytes, split anywhere, streamed or whole. Out: events in the order of
`core.events`. As tolerant as `relay`, whose rules it shares. How a choice ended is told when the
reply ends: several upstreams name a reason early, or with every chunk.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.dialects._base import EmbeddedError, UsageRules
from groxy.dialects.chat.chunks import Chunk, ChunkStream, seconds_of
from groxy.dialects.chat.mend import ABSENT, Call, Delta, text_of
from groxy.dialects.chat.sources import cited_in, cited_urls, sealed_in
from groxy.dialects.chat.whole import read_whole
from groxy.wire.json import UNREADABLE

_REASONS = {reason.value: reason for reason in FinishReason} | {
    "function_call": FinishReason.TOOL_CALLS
}
_text_decoder = msgspec.json.Decoder(str)


@dataclass(slots=True)
class _Call:
    """A tool call so far; it is told once its name is known, and `held` until then."""

    call_id: str = ""
    held: str = ""
    is_told: bool = False


class ChatDecoder(ChunkStream[list[Event]]):
    """Reads one reply; see `dialects._base.ReplyDecoder`."""

    def __init__(self, rules: UsageRules) -> None:
        super().__init__(rules)
        self._id = ""
        self._model = ""
        self._created = 0
        self._has_started = False
        self._has_ended = False
        self._has_said = False
        self._reasons: dict[int, str] = {}
        self._open: dict[tuple[int, int], _Call] = {}
        self._cited: set[str] = set()

    @property
    def _has_output(self) -> bool:
        return self._has_said

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes."""
        events = list(chain.from_iterable(self._fed(chunk)))
        return events + self._ending() if self._is_done else events

    def close(self) -> list[Event]:
        """Return the events that the end of the stream completes."""
        return [*chain.from_iterable(self._rest()), *self._ending()]

    def feed_whole(self, body: bytes) -> list[Event]:
        """Return the events of a whole reply."""
        self._is_done = True
        try:
            reply, _ = read_whole(body)
        except (EmbeddedError, GroxyError) as error:
            self.failure = error
            return []
        for choice in reply.choices or ():
            choice.delta = choice.message
            calls = choice.delta.tool_calls if choice.delta is not None else None
            for at, call in enumerate(calls or ()):
                call.index = at
        if reply.usage is not ABSENT:
            self._usage_raw = reply.usage
        events = self._events_of(reply)
        self._finished |= self._spoken  # It is whole: what it does not say about its end is no cut.
        return events + self._ending()

    def _take(self, data: bytes) -> list[Event]:
        chunk, data = self._read(data)
        if any(choice.finish_reason == "error" for choice in chunk.choices or ()):
            raise EmbeddedError(data)  # OpenRouter: a choice can fail without an error object.
        return self._events_of(chunk)

    def _events_of(self, chunk: Chunk) -> list[Event]:
        if not self._id:
            self._id, self._created = chunk.id or "", seconds_of(chunk.created)
        self._model = self._model or chunk.model or ""
        events: list[Event] = []
        for choice in chunk.choices or ():
            self._spoken.add(choice.index)
            if choice.delta is not None:
                events += self._said(choice.delta, choice.index)
            if choice.finish_reason is not None:
                self._has_said = True
                reason = self._end(choice, choice.delta)
                if reason is not None:
                    self._reasons[choice.index] = reason
        if chunk.citations is not ABSENT:
            events += self._new(Cited(url=url) for url in cited_urls(chunk.citations))
        if chunk.usage is not ABSENT and (usage := self.reported_usage()) is not None:
            events.append(UsageReported(usage=usage))
        return self._begun(events)

    def _begun(self, events: list[Event]) -> list[Event]:
        """Return `events`, behind the start of the reply when they are its first."""
        if self._has_started or not events:
            return events
        self._has_started = True
        started = Started(reply_id=self._id, model_served=self._model, created=self._created)
        return [started, *events]

    def _said(self, delta: Delta, choice: int) -> list[Event]:
        """Return what a delta says: thoughts, their seal, text, sources, calls."""
        events: list[Event] = []
        thoughts = delta.reasoning_content or delta.reasoning
        if thoughts:
            events.append(ReasoningDelta(text=thoughts, choice=choice))
        if delta.reasoning_details is not ABSENT:
            events += [
                ReasoningSealed(encrypted=sealed, item_id=item_id, choice=choice)
                for sealed, item_id in sealed_in(delta.reasoning_details)
            ]
        content = delta.content
        if content is not None and type(content) is not str:
            content = text_of(content)
        text = content or _refusal(delta)
        if text:
            events.append(TextDelta(text=text, choice=choice))
        self._has_said |= bool(thoughts or text or delta.tool_calls)
        if delta.annotations is not ABSENT:
            events += self._new(cited_in(delta.annotations, choice))
        for call in delta.tool_calls or ():
            events += self._called(call, choice)
        return events

    def _new(self, sources: Iterable[Cited]) -> list[Event]:
        """Return sources that were not told before: some upstreams repeat them at the end."""
        fresh: list[Event] = []
        for source in sources:
            # One page may be cited at several places of the text.
            key = f"{source.url}\0{source.start}\0{source.end}" if source.end else source.url
            if key not in self._cited:
                self._cited |= {key, source.url}
                fresh.append(source)
        return fresh

    def _called(self, fragment: Call, choice: int) -> list[Event]:
        self._settle(fragment, choice)
        index, function = fragment.index or 0, fragment.function
        name = (function.name if function else None) or ""
        arguments = (function.arguments if function else None) or ""
        call = self._open.setdefault((choice, index), _Call())
        call.call_id = call.call_id or fragment.id or ""
        if call.is_told:
            if not arguments:
                return []
            return [ToolCallDelta(index=index, arguments=arguments, choice=choice)]
        call.held += arguments
        return [self._told(call, name, choice, index)] if name else []

    def _told(self, call: _Call, name: str, choice: int, index: int) -> ToolCallDelta:
        call.is_told = True
        call.call_id = call.call_id or self._made_up_id(choice, index)
        arguments, call.held = call.held, ""
        return ToolCallDelta(
            index=index, arguments=arguments, call_id=call.call_id, name=name, choice=choice
        )

    def _made_up_id(self, choice: int, index: int) -> str:
        """Return an id for a call that has none: the same one each time the reply is read."""
        seed = f"{self._id}:{choice}:{index}".encode(errors="replace")
        return f"call_{blake2b(seed, digest_size=12).hexdigest()}"

    def _ending(self) -> list[Event]:
        """Return how each choice ended, once the reply came to its proper end."""
        if self._has_ended or not self.is_complete:
            return []
        self._has_ended = True
        events: list[Event] = [
            self._told(call, "", choice, index)
            for (choice, index), call in self._open.items()
            if not call.is_told
        ]
        events += [
            Finished(reason=self._finish_reason(index), choice=index)
            for index in sorted(self._spoken)
        ]
        return self._begun(events)

    def _finish_reason(self, index: int) -> FinishReason:
        reason = _REASONS[self._reasons.get(index) or self._reason_for(index)]
        # OpenAI says `stop` when the call was forced by tool_choice; others always do.
        has_stopped = reason is FinishReason.STOP
        return FinishReason.TOOL_CALLS if has_stopped and index in self._calls else reason


def _refusal(delta: Delta) -> str:
    if delta.refusal is ABSENT:
        return ""
    try:
        return _text_decoder.decode(delta.refusal)
    except UNREADABLE:
        return ""  # null, or nothing that is a text.
