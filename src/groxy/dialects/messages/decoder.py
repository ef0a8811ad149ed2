"""The upstream's end of a Messages reply: its bytes, in any portions, become events.

In: bytes of a stream or of a whole reply. Out: canonical events. Blocks of tools that the upstream
runs itself are passed over; so are event types that nobody knows. Must not raise on what an
upstream sends: `failure` says what was wrong.
"""

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.dialects._base import EmbeddedError, UsageRules
from groxy.dialects.messages import usage as messages_usage
from groxy.dialects.messages.stops import finish_reason
from groxy.dialects.messages.stream import (
    Delta,
    OpenedMessage,
    StreamEvent,
    read_citation,
    read_event,
)
from groxy.dialects.messages.whole import Block, whole_as_events
from groxy.wire.json import Fields, encode
from groxy.wire.sse import DONE, SseEvent, SseReader

_EMPTY_INPUTS = (b"", b"null", b"{}")


class _Call:
    """A tool call while its block is open."""

    def __init__(self, index: int, given: bytes) -> None:
        self.index = index
        self.given = given
        """The input that stood in the block's start already."""
        self.has_arguments = False


class MessagesDecoder:
    """Reads one reply; see `dialects._base.ReplyDecoder`."""

    def __init__(self, rules: UsageRules) -> None:
        self.failure: Exception | None = None
        self._rules = rules
        self._sse = SseReader()
        self._has_started = False
        self._has_stopped = False
        self._has_finished = False
        self._usage: Fields = {}
        self._calls: dict[int, _Call] = {}
        self._called = 0
        self._open = 0
        """The block that was opened last, for upstreams that do not number them."""
        self._chars = 0
        self._block_chars = 0
        self._reply_id = ""

    @property
    def is_complete(self) -> bool:
        """True once the upstream said `message_stop`."""
        return self._has_stopped and self.failure is None

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        return self._has_stopped or self.failure is not None

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes."""
        if self.is_done:
            return []
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure = error
            return []
        return self._read(events)

    def close(self) -> list[Event]:
        """Return the events that the end of the stream completes."""
        if self.is_done:
            return []
        events = self._read(self._sse.close())
        if isinstance(self.failure, GroxyError):
            self.failure = None  # Half an event: the cut is what went wrong, not how half reads.
        return events

    def feed_whole(self, body: bytes) -> list[Event]:
        """Return the events of a whole reply."""
        try:
            return self._read([(b"", data) for data in whole_as_events(body)])
        except (EmbeddedError, GroxyError) as error:
            self.failure = error
            return []

    def _read(self, events: list[SseEvent]) -> list[Event]:
        read: list[Event] = []
        for name, data in events:
            if data.startswith(DONE):
                continue
            try:
                event = read_event(name, data)
            except (EmbeddedError, GroxyError) as error:
                self.failure = error
                break
            if event is not None:
                self._take(event, read)
            if self._has_stopped:
                break
        return read

    def _take(self, event: StreamEvent, read: list[Event]) -> None:
        if event.type == "message_start" or not self._has_started:
            self._start(event.message or OpenedMessage(), read)
        if self._has_finished and (event.type or "").startswith("content_block"):
            return  # It has said why it ended; what still comes belongs to no reply.
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._take_delta(event.delta, self._index(event), read)
            case "content_block_start" if event.content_block is not None:
                self._open = self._open + 1 if event.index is None else event.index
                self._open_block(event.content_block, self._open, read)
            case "content_block_stop":
                self._close_call(self._index(event), read)
            case "message_delta":
                self._end(event, read)
            case "message_stop":
                self._finish(Delta(), read)
                self._has_stopped = True
            case _:
                pass

    def _index(self, event: StreamEvent) -> int:
        return self._open if event.index is None else event.index

    def _start(self, message: OpenedMessage, read: list[Event]) -> None:
        if self._has_started:
            return
        self._has_started = True
        self._usage = messages_usage.merged({}, message.usage)
        self._reply_id = message.id or ""
        # Messages do not say when they were made; whoever writes the reply knows.
        read.append(Started(reply_id=message.id or "", model_served=message.model or "", created=0))

    def _open_block(self, block: Block, index: int, read: list[Event]) -> None:
        match block.type:
            case "text":
                self._block_chars = self._chars
                self._say(block.text or "", read)
            case "thinking":
                if block.thinking:
                    read.append(ReasoningDelta(text=block.thinking))
                if block.signature:
                    read.append(ReasoningSealed(encrypted=block.signature))
            case "redacted_thinking" if block.data:
                read.append(ReasoningSealed(encrypted=block.data))
            case "tool_use":
                self._close_call(index, read)  # One that was never closed must not lose its input.
                call = self._calls[index] = _Call(self._called, bytes(block.input))
                self._called += 1
                read.append(
                    ToolCallDelta(
                        index=call.index,
                        arguments="",
                        call_id=block.id or f"toolu_{self._reply_id}_{call.index}",
                        name=block.name or "",
                    )
                )
            case _:
                pass

    def _take_delta(self, delta: Delta, index: int, read: list[Event]) -> None:
        if delta.text:
            self._say(delta.text, read)
        elif delta.partial_json:
            call = self._calls.get(index)
            if call is not None:
                call.has_arguments = True
                read.append(ToolCallDelta(index=call.index, arguments=delta.partial_json))
        elif delta.thinking:
            read.append(ReasoningDelta(text=delta.thinking))
        elif delta.signature:
            read.append(ReasoningSealed(encrypted=delta.signature))
        elif delta.citation:
            self._cite(delta, read)

    def _say(self, text: str, read: list[Event]) -> None:
        if text:
            self._chars += len(text)
            read.append(TextDelta(text=text))

    def _cite(self, delta: Delta, read: list[Event]) -> None:
        citation = read_citation(delta.citation)
        if citation is not None:
            read.append(
                Cited(
                    url=citation.url or "",
                    title=citation.title or "",
                    start=self._block_chars,
                    end=self._chars,
                )
            )

    def _close_call(self, index: int, read: list[Event]) -> None:
        """End a call; one without arguments gets what stood in its start, an object at least."""
        call = self._calls.pop(index, None)
        if call is None or call.has_arguments:
            return
        given = "{}" if call.given in _EMPTY_INPUTS else call.given.decode(errors="replace")
        read.append(ToolCallDelta(index=call.index, arguments=given))

    def _end(self, event: StreamEvent, read: list[Event]) -> None:
        if event.usage:
            self._usage = messages_usage.merged(self._usage, event.usage)
            # Not before: at the start only the input is known, and half a count is worse than none.
            usage = messages_usage.read_usage(encode(self._usage), self._rules)
            if usage is not None:
                read.append(UsageReported(usage=usage))
        if event.delta is not None and event.delta.stop_reason:
            self._finish(event.delta, read)

    def _finish(self, delta: Delta, read: list[Event]) -> None:
        if self._has_finished:
            return
        self._has_finished = True
        for index in list(self._calls):
            self._close_call(index, read)
        reason = finish_reason(delta.stop_reason, has_calls=self._called > 0)
        read.append(Finished(reason=reason, stop_text=delta.stop_sequence or ""))
