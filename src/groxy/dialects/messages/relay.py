"""Messages streams, same dialect on both sides: relay each event, mend what clients choke on.

In: an upstream's bytes, split anywhere. Out: bytes for the caller. Events are passed on as they
came, each with its `event:` line (clients drop those without, anthropic 2.11.0), and are decoded
only as far as the books need. Mended are: a start without the count of input tokens, which Claude
Code relies on (vercel/ai#17326), or without a field that every message has; and `end_turn` where
there are calls to run. The end, with the usage in it, is held back for `finish`. Must not talk to
anyone and must not price anything.
"""

from typing import Any

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.events import FinishReason
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, Frame, Tally, UsageRules
from groxy.dialects.messages import usage as messages_usage
from groxy.dialects.messages.encoder import event_bytes
from groxy.dialects.messages.errors import encode_stream_error
from groxy.dialects.messages.stops import finish_reason, mended_stop_reason
from groxy.dialects.messages.stream import Delta, StreamEvent, read_event
from groxy.dialects.messages.whole import Block, whole_as_events
from groxy.wire.json import UNREADABLE, Fields, decode_any, encode
from groxy.wire.sse import DONE, SseEvent, SseReader

_CUT = "max_tokens"
_NO_INPUT = (b"", b"{}", b"null")
_DELTA_LINE = b"event: content_block_delta\ndata: "


class _OpenBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block whose end has not come."""

    is_call: bool
    """True for a call whose arguments are still to come."""
    begins_at: int
    """How many pieces the tally had when it began."""


class MessagesRelay:
    """One streamed reply on its way to the caller; see `dialects._base.StreamRelay`."""

    record = b""

    def __init__(self, rules: UsageRules, frame: Frame) -> None:
        self.tally = Tally()
        self.failure: Exception | None = None
        self._rules = rules
        self._frame = frame
        self._sse = SseReader()
        self._has_started = False
        self._has_stopped = False
        self._usage: Fields = {}
        self._has_usage = False
        self._ending = b""
        """The last `message_delta`, as it came."""
        self._open: dict[int, _OpenBlock] = {}
        """The blocks that began and have not ended, in order."""
        self._is_cut = False

    @property
    def is_complete(self) -> bool:
        """True once the upstream said `message_stop`, or it was cut."""
        return self._has_stopped and self.failure is None

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        return self._has_stopped or self.failure is not None

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        if self.is_done:
            return b""
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure = error
            return b""
        return self._relay(events)

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        if self.is_done:
            return b""
        passed = self._relay(self._sse.close())
        if isinstance(self.failure, GroxyError):
            self.failure = None  # Half an event: the cut is what went wrong, not how half reads.
        return passed

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream."""
        try:
            return self._relay([(b"", data) for data in whole_as_events(body)])
        except (EmbeddedError, GroxyError) as error:
            self.failure = error
            return b""

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported; none before the end, where all of it is known."""
        if not self._has_usage:
            return None
        return messages_usage.read_usage(encode(self._usage), self._rules)

    def finish(self, usage: Usage) -> bytes:
        """Return the end of the stream, with `usage`."""
        try:
            ending: dict[str, Any] = decode_any(self._ending)
        except UNREADABLE:
            ending = {}
        delta = ending.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        delta.setdefault("stop_sequence", None)
        delta["stop_reason"] = mended_stop_reason(
            _CUT if self._is_cut else delta.get("stop_reason"),
            stop_text=delta["stop_sequence"],
            has_calls=bool(self.tally.called),
        )
        written = messages_usage.written_usage(usage, encode(self._usage))
        ending |= {"type": "message_delta", "delta": delta, "usage": written}
        return event_bytes(ending) + event_bytes({"type": "message_stop"})

    def cut(self) -> bytes:
        """End the reply for its length: return the ends of its open blocks."""
        if self.is_done:
            return b""
        opening = b"" if self._has_started else self._start(StreamEvent(), b"{}")
        # An upstream that said why it ended keeps its reason, though its last event is missing.
        self._is_cut = not self._ending
        self._has_stopped = True
        if self._is_cut:
            self.tally.finish_reason = FinishReason.LENGTH.value
        ends = [self._end_of(index, block) for index, block in self._open.items()]
        return opening + b"".join(ends)

    def _end_of(self, index: int, block: _OpenBlock) -> bytes:
        end = event_bytes({"type": "content_block_stop", "index": index})
        if not block.is_call or len(self.tally.output) > block.begins_at:
            return end
        # A call without a word of arguments: clients read them as JSON, and nothing is none.
        delta = {"type": "input_json_delta", "partial_json": "{}"}
        return event_bytes({"type": "content_block_delta", "index": index, "delta": delta}) + end

    def fail(self, error: GroxyError) -> bytes:
        """Return the last bytes of a stream that broke off after it had begun."""
        return encode_stream_error(error)

    def _relay(self, events: list[SseEvent]) -> bytes:
        passed: list[bytes] = []
        for name, data in events:
            if data.startswith(DONE):
                continue
            try:
                event = read_event(name, data)
            except (EmbeddedError, GroxyError) as error:
                # What came before it in the same chunk still goes to the caller.
                self.failure = error
                break
            passed.append(self._passed(event, name, data))
            if self._has_stopped:
                break
        return b"".join(passed)

    def _passed(self, event: StreamEvent | None, name: bytes, data: bytes) -> bytes:
        """Return what of an event goes to the caller now."""
        if b"\n" in data:
            data = data.replace(b"\n", b" ")  # Between values only: text has its line ends escaped.
        if event is None:
            return self._unknown(name, data)
        if event.type == "content_block_delta" and self._has_started:
            if event.delta is not None:
                self._note_delta(event.delta)
            return _DELTA_LINE + data + b"\n\n"
        if event.type == "message_start":
            return self._start(event, data)
        opening = b"" if self._has_started else self._start(StreamEvent(), b"{}")
        return opening + self._note(event, data)

    def _note(self, event: StreamEvent, data: bytes) -> bytes:
        kind = event.type or ""
        match kind:
            case "message_delta":
                self._note_end(event, data)
                return b""
            case "message_stop":
                self._has_stopped = self.tally.has_output = True
                return b""
            case "content_block_start" if event.content_block is not None:
                self._note_block(event.content_block, event.index or 0)
            case "content_block_stop":
                self._open.pop(event.index or 0, None)
            case "content_block_delta" if event.delta is not None:
                self._note_delta(event.delta)
            case _:
                pass
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"

    def _unknown(self, name: bytes, data: bytes) -> bytes:
        """Pass on what nobody here knows, pings too; before the start it would only be noise."""
        if not self._has_started:
            return b""
        try:
            fields = decode_any(data)
            name = fields.get("type", name.decode()).encode()
        except (*UNREADABLE, AttributeError):
            return b""
        if not name or b"\n" in name or b"\r" in name:  # Either would end the line.
            return b""
        return b"event: " + name + b"\ndata: " + data + b"\n\n"

    def _start(self, event: StreamEvent, data: bytes) -> bytes:
        if self._has_started:
            return b""
        self._has_started = True
        message = event.message
        if message is not None:
            self.tally.reply_id, self.tally.model_served = message.id or "", message.model or ""
            self._usage = messages_usage.merged({}, message.usage)
        counted = messages_usage.read_usage(encode(self._usage), self._rules)
        if counted is None or not counted.input_tokens:
            return self._mended_start(data, self._estimate())
        if self.tally.reply_id and message is not None and message.has_content:
            return b"event: message_start\ndata: " + data + b"\n\n"
        return self._mended_start(data, counted)

    def _estimate(self) -> Usage:
        return Usage(input_tokens=self._frame.count_input(), output_tokens=1)

    def _mended_start(self, data: bytes, usage: Usage) -> bytes:
        try:
            start = decode_any(data)
        except UNREADABLE:
            start = {}
        message = start.get("message")
        message = message if isinstance(message, dict) else {}
        self.tally.reply_id = self.tally.reply_id or f"msg_{self._frame.reply_id}"
        usual: dict[str, Any] = {"stop_reason": None, "stop_sequence": None}
        message = usual | message
        if not isinstance(message.get("content"), list):
            message["content"] = []
        message |= {
            "id": self.tally.reply_id,
            "type": "message",
            "role": "assistant",
            "model": self.tally.model_served,
            "usage": messages_usage.written_usage(usage, encode(message.get("usage"))),
        }
        return event_bytes(start | {"type": "message_start", "message": message})

    def _note_block(self, block: Block, index: int) -> None:
        tally = self.tally
        tally.has_output = True
        if block.type == "tool_use":
            tally.output.append(block.name or "")
            tally.called.append(block.name or "")
            tally.call_ids.append(block.id or "")
        elif block.type == "redacted_thinking" and block.data:
            tally.sealed.append(block.data)
        elif text := block.text or block.thinking:
            tally.output.append(text)
        is_call = block.type.endswith("tool_use") and bytes(block.input) in _NO_INPUT
        self._open[index] = _OpenBlock(is_call=is_call, begins_at=len(tally.output))

    def _note_delta(self, delta: Delta) -> None:
        text = delta.text or delta.partial_json or delta.thinking
        if text:
            self.tally.output.append(text)
            self.tally.has_output = True
        elif delta.signature:
            self.tally.sealed.append(delta.signature)

    def _note_end(self, event: StreamEvent, data: bytes) -> None:
        if event.usage:
            self._usage = messages_usage.merged(self._usage, event.usage)
            self._has_usage = True
        if self._ending and not (event.delta and event.delta.stop_reason):
            return
        self._ending = data
        if event.delta is not None:
            self.tally.has_output |= bool(event.delta.stop_reason)
            has_calls = bool(self.tally.called)
            reason = finish_reason(event.delta.stop_reason, has_calls=has_calls)
            self.tally.finish_reason = reason.value
