"""Between two dialects: an upstream's reply, read as events, written as the caller's.

In: the upstream's bytes. Out: the caller's bytes and the tally for the books. Works for every pair,
because it knows neither: one end decodes, the other encodes. Stop texts are honoured here, as half
of the upstreams' dialects cannot be told them, and none says which one it was. Must not name a
dialect.
"""

from collections.abc import Iterable, Iterator

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import ReplyDecoder, ReplyEncoder, Tally


class TranslatedStream:
    """A streamed reply on its way between two dialects; see `_base.StreamRelay`."""

    def __init__(
        self, decoder: ReplyDecoder, encoder: ReplyEncoder, stop: tuple[str, ...] = ()
    ) -> None:
        self.tally = Tally()
        self.failure: Exception | None = None
        self._decoder = decoder
        self._encoder = encoder
        self._stops = StopTexts(stop) if stop else None
        self._usage: Usage | None = None
        self._open: set[int] = set()
        """The choices that began and have not ended."""
        self._is_spent = False
        """True once it was ended for its budget."""

    @property
    def record(self) -> bytes:
        """The reply as the caller's dialect keeps it."""
        return self._encoder.record

    @property
    def is_complete(self) -> bool:
        """True once the reply came to its proper end, to a stop text or the end of its budget."""
        return self.failure is None and (self._decoder.is_complete or self._is_cut)

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        return self._decoder.is_done or self.failure is not None or self._is_cut

    @property
    def _is_cut(self) -> bool:
        return self._is_spent or (self._stops is not None and self._stops.is_cut)

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        return b"" if self.is_done else self._write(self._decoder.feed(chunk))

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream."""
        return self._write(self._decoder.feed_whole(body))

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        return b"" if self.is_done else self._write(self._decoder.close())

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported so far."""
        return self._usage

    def finish(self, usage: Usage) -> bytes:
        """Return the stream's last bytes."""
        return self._encoder.finish(usage)

    def cut(self) -> bytes:
        """End the choices that are open for their length; text held back for stop texts leaves."""
        if self.failure is not None or self.is_complete:
            return b""
        self._is_spent = True
        ended = sorted(self._open) or ([] if self.tally.finish_reason else [0])
        ends = [Finished(reason=FinishReason.LENGTH, choice=choice) for choice in ended]
        return self._written(ends if self._stops is None else self._stops.cut(ends))

    def fail(self, error: GroxyError) -> bytes:
        """Return the last bytes of a stream that broke off."""
        return self._encoder.fail(error)

    def _write(self, events: Iterable[Event]) -> bytes:
        written = self._written(events if self._stops is None else self._stops.cut(events))
        if self.failure is None and not self._is_cut:
            self.failure = self._decoder.failure
        return written

    def _written(self, events: Iterable[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if isinstance(event, Failed):
                self.failure = event.error
                break
            if isinstance(event, UsageReported):
                self._usage = event.usage
            elif isinstance(event, Finished):
                self._open.discard(event.choice)
            elif not isinstance(event, Started):
                self._open.add(event.choice)
            note(event, self.tally)
            written.append(self._encoder.feed(event))
        return b"".join(written)


class TranslatedReply:
    """A whole reply between two dialects; see `_base.WholeReply`.

    Raises what the decoder found wrong: `EmbeddedError` or `GroxyError`.
    """

    def __init__(
        self, body: bytes, decoder: ReplyDecoder, encoder: ReplyEncoder, stop: tuple[str, ...] = ()
    ) -> None:
        events: Iterable[Event] = decoder.feed_whole(body)
        if decoder.failure is not None:
            raise decoder.failure
        self.tally = Tally()
        self._encoder = encoder
        self._usage: Usage | None = None
        if stop:
            events = StopTexts(stop).cut(events)
        self._events = list(events)
        for event in self._events:
            if isinstance(event, UsageReported):
                self._usage = event.usage
            note(event, self.tally)

    @property
    def record(self) -> bytes:
        """The reply as the caller's dialect keeps it."""
        return self._encoder.record

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported."""
        return self._usage

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller."""
        return self._encoder.whole(self._events, usage)


def note(event: Event, tally: Tally) -> None:
    """Take an event into the tally."""
    match event:
        case Started():
            tally.reply_id, tally.model_served = event.reply_id, event.model_served
        case TextDelta() | ReasoningDelta():
            tally.output.append(event.text)
            tally.has_output |= bool(event.text)
        case ReasoningSealed():
            tally.sealed.append(event.encrypted)
        case ToolCallDelta():
            tally.output.append(event.name + event.arguments)
            tally.has_output = True
            if event.call_id:
                tally.call_ids.append(event.call_id)
            if event.name:
                tally.called.append(event.name)
        case Finished():
            tally.finish_reason = event.reason.value
            tally.has_output = True
        case Cited() | UsageReported() | Failed():
            pass


class StopTexts:
    """Ends a choice where one of its stop texts begins, in whatever portions the text comes.

    After the last choice ended so nothing but usage passes.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held: dict[int, str] = {}
        self._cut: set[int] = set()
        self._open: set[int] = set()

    @property
    def is_cut(self) -> bool:
        """True once every choice that began was ended by a stop text."""
        return bool(self._cut) and self._open <= self._cut

    def cut(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield `events` up to the stop texts."""
        for event in events:
            if isinstance(event, Started | UsageReported | Failed):
                yield event
                continue
            choice = event.choice
            self._open.add(choice)
            if choice in self._cut:
                continue
            if isinstance(event, TextDelta):
                yield from self._text(event)
            else:
                yield from self._flushed(choice)
                yield event

    def _text(self, event: TextDelta) -> Iterator[Event]:
        text = self._held.pop(event.choice, "") + event.text
        hits = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            # The one that is complete first ends the answer, as it would while it is written.
            at, stop = min(hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            if at:
                yield TextDelta(text=text[:at], choice=event.choice)
            self._cut.add(event.choice)
            yield Finished(reason=FinishReason.STOP, choice=event.choice, stop_text=stop)
            return
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        if keep:
            self._held[event.choice] = text[-keep:]
        if len(text) > keep:
            yield TextDelta(text=text[: len(text) - keep], choice=event.choice)

    def _flushed(self, choice: int) -> Iterator[Event]:
        """Yield text that was held back and turned out to be no stop text."""
        held = self._held.pop(choice, "")
        if held:
            yield TextDelta(text=held, choice=choice)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
