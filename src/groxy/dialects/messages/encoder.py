"""Canonical events written as Messages: a stream, or the whole message that they make.

In: events of any dialect. Out: bytes for the caller. Blocks never interleave: what comes for a
later block while an earlier one is still open waits, and a tool call is closed early only when its
arguments are whole. Only the first choice is told: Messages has no others. Thoughts are told as far
as the caller asked for them: who did not reads the first block as the answer. Citations are left
out: Messages quotes its own search results, and has no place for a plain address.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame, ThoughtsShown
from groxy.dialects.messages.errors import encode_stream_error
from groxy.dialects.messages.sealing import sealed_token
from groxy.dialects.messages.stops import stop_reason
from groxy.dialects.messages.usage import written_usage
from groxy.wire.json import UNREADABLE, decode_fields, encode

_Kind = Literal["text", "thinking", "tool_use", "redacted_thinking"]
_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
_DELTA_FIELDS = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}


def event_bytes(fields: dict[str, Any]) -> bytes:
    """Return one event; clients drop those without an `event:` line (anthropic 2.11.0)."""
    name: str = fields["type"]
    return b"event: " + name.encode() + b"\ndata: " + encode(fields) + b"\n\n"


class _Block:
    """One content block of the reply, as far as it has come."""

    def __init__(self, kind: _Kind, **head: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.signature = ""
        self._head = head
        self._written = 0
        self._opening = b""
        self._unwhole = 0
        """So many pieces of a call are known to be no whole arguments."""

    @property
    def is_whole(self) -> bool:
        """True when nothing more can come; a call may still go on until its arguments are whole."""
        if self.kind != "tool_use":
            return True
        if len(self.pieces) == self._unwhole or not self.pieces[-1].rstrip().endswith("}"):
            return False
        self._unwhole = len(self.pieces)
        return _arguments("".join(self.pieces)) is not None

    def content(self) -> dict[str, Any]:
        """Return the block of a whole message."""
        text = "".join(self.pieces)
        match self.kind:
            case "text":
                return {"type": "text", "text": text}
            case "thinking":
                return {"type": "thinking", "thinking": text, "signature": self.signature}
            case "redacted_thinking":
                return {"type": "redacted_thinking", "data": self.signature}
            case "tool_use":
                # Arguments that were cut off are no JSON, and `input` must be an object.
                return {"type": "tool_use", **self._head, "input": _arguments(text) or {}}

    def written(self, index: int) -> bytes:
        """Return what of the block was not written yet, its start included."""
        out: list[bytes] = []
        if not self._opening:
            out.append(self._start(index))
        out.extend(map(self.more, self.pieces[self._written :]))
        if self.kind == "tool_use":
            self._written = len(self.pieces)
        else:
            self.pieces.clear()
        return b"".join(out)

    def more(self, piece: str) -> bytes:
        """Return the bytes of one more piece of a block that was begun."""
        return self._opening + encode(piece) + b"}}\n\n"

    def end(self, index: int) -> bytes:
        """Return the end of the block."""
        out = b""
        if self.kind == "tool_use" and not any(self.pieces):
            out = self._opening + b'"{}"}}\n\n'
        elif self.kind == "thinking" and self.signature:
            delta = {"type": "signature_delta", "signature": self.signature}
            out = event_bytes({"type": "content_block_delta", "index": index, "delta": delta})
        return out + event_bytes({"type": "content_block_stop", "index": index})

    def _start(self, index: int) -> bytes:
        empty: dict[str, Any] = {"type": self.kind, **self._head}
        match self.kind:
            case "text":
                empty["text"] = ""
            case "thinking":
                empty |= {"thinking": "", "signature": ""}
            case "tool_use":
                empty["input"] = {}
            case "redacted_thinking":
                empty["data"] = self.signature
        self._opening = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%s","%s":'
            % (
                index,
                _DELTAS.get(self.kind, "").encode(),
                _DELTA_FIELDS.get(self.kind, "").encode(),
            )
        )
        return event_bytes({"type": "content_block_start", "index": index, "content_block": empty})


def _arguments(text: str) -> dict[str, msgspec.Raw] | None:
    """Return the arguments of a call; None when they are no whole JSON object."""
    try:
        return decode_fields(text.encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return None


class MessagesEncoder:
    """The caller's end of one reply; see `dialects._base.ReplyEncoder`."""

    record = b""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        self._frame = frame
        self._model = asked.model
        self._shown = asked.thoughts_shown
        self._has_started = False
        self._finished: Finished | None = None
        self._has_calls = False
        self._blocks: deque[_Block] = deque()
        """The open block, and those that wait for it to end."""
        self._ended = 0
        self._calls: dict[int, _Block] = {}

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event; empty when there are none for it yet."""
        if isinstance(event, Started):
            self._model = event.model_served or self._model
            return self._start()
        if isinstance(event, TextDelta) and self._is_plain_text and event.text:
            return b"" if event.choice else self._blocks[0].more(event.text)  # Most events are so.
        opening = b"" if self._has_started else self._start()
        self._take(event)
        return opening + self._drain()

    def finish(self, usage: Usage) -> bytes:
        """Return the end of a stream that went well."""
        opening = b"" if self._has_started else self._start()
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": self._stop_text or None}
        return b"".join(
            (
                opening,
                self._end_all(),
                event_bytes(
                    {"type": "message_delta", "delta": delta, "usage": written_usage(usage)}
                ),
                event_bytes({"type": "message_stop"}),
            )
        )

    def fail(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off."""
        return encode_stream_error(error)

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """Return the message that `events` make."""
        for event in events:
            if isinstance(event, Started):
                self._model = event.model_served or self._model
            self._take(event)
        return encode(
            self._message(
                [block.content() for block in self._blocks],
                written_usage(usage),
                stop_reason=self._stop_reason(),
                stop_sequence=self._stop_text or None,
            )
        )

    # ------------------------------------------------------------------------ taking events

    def _take(self, event: Event) -> None:
        match event:
            case Started() | UsageReported() | Failed() | Cited():
                return
            case _ if event.choice != 0 or self._finished is not None:
                return
            case TextDelta(text=text):
                if text:
                    self._last("text").pieces.append(text)
            case ReasoningDelta(text=text):
                self._think(text)
            case ReasoningSealed():
                self._seal(event)
            case ToolCallDelta():
                self._take_call(event)
            case Finished():
                self._finished = event

    @property
    def _is_plain_text(self) -> bool:
        """True when text is being written, and nothing waits."""
        blocks = self._blocks
        return len(blocks) == 1 and blocks[0].kind == "text" and self._finished is None

    def _last(self, kind: _Kind) -> _Block:
        """Return the last block if more can go into it, else a new one."""
        if self._blocks:
            block = self._blocks[-1]
            if block.kind == kind and not block.signature:
                return block
        block = _Block(kind)
        self._blocks.append(block)
        return block

    def _think(self, text: str) -> None:
        if not text or self._shown is ThoughtsShown.NONE:
            return
        block = self._last("thinking")
        if self._shown is ThoughtsShown.ALL:
            block.pieces.append(text)

    def _seal(self, event: ReasoningSealed) -> None:
        if not event.encrypted or self._shown is ThoughtsShown.NONE:
            return
        block = self._blocks[-1] if self._blocks else None
        if block is None or block.kind != "thinking" or block.signature:
            block = _Block("redacted_thinking")
            self._blocks.append(block)
        block.signature = sealed_token(event.encrypted, event.item_id)

    def _take_call(self, event: ToolCallDelta) -> None:
        block = self._calls.get(event.index)
        if block is None:
            call_id = event.call_id or f"toolu_{self._frame.reply_id}_{event.index}"
            block = self._calls[event.index] = _Block("tool_use", id=call_id, name=event.name)
            self._blocks.append(block)
            self._has_calls = True
        if event.arguments:
            # To a call whose arguments were whole already nothing can be added that makes sense;
            # its block may be closed by now, and then this goes nowhere.
            block.pieces.append(event.arguments)

    # ---------------------------------------------------------------------- writing blocks

    def _drain(self) -> bytes:
        """Return what can be written now."""
        if self._finished is not None:
            return self._end_all()
        out: list[bytes] = []
        while self._blocks:
            block = self._blocks[0]
            out.append(block.written(self._ended))
            is_last = len(self._blocks) == 1
            if not block.signature and (is_last or not block.is_whole):
                break
            out.append(self._end_first())
        return b"".join(out)

    def _end_all(self) -> bytes:
        out: list[bytes] = []
        while self._blocks:
            out.append(self._blocks[0].written(self._ended))
            out.append(self._end_first())
        return b"".join(out)

    def _end_first(self) -> bytes:
        end = self._blocks.popleft().end(self._ended)
        self._ended += 1
        return end

    def _start(self) -> bytes:
        self._has_started = True
        # Claude Code takes its count of the context from here (vercel/ai#17326, 2026).
        usage = written_usage(Usage(input_tokens=self._frame.count_input(), output_tokens=1))
        return event_bytes({"type": "message_start", "message": self._message([], usage)})

    def _message(
        self,
        content: list[dict[str, Any]],
        usage: dict[str, Any],
        *,
        stop_reason: str | None = None,
        stop_sequence: str | None = None,
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self._frame.reply_id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }

    @property
    def _stop_text(self) -> str:
        return self._finished.stop_text if self._finished else ""

    def _stop_reason(self) -> str:
        reason = self._finished.reason if self._finished else None
        return stop_reason(reason, stop_text=self._stop_text, has_calls=self._has_calls)
