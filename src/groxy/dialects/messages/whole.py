"""Whole Messages replies: passed on as they are, or turned into the events of a stream."""

from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, Frame, Tally, UsageRules
from groxy.dialects._embedded import failure_in, is_there
from groxy.dialects.messages import usage as messages_usage
from groxy.dialects.messages.stops import finish_reason, mended_stop_reason
from groxy.wire.json import UNREADABLE, decode_any, decode_fields, encode

_NOTHING = msgspec.Raw(b"")


class Block(msgspec.Struct):
    """A block of a message, whole or as it starts in a stream."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING


class _Reply(msgspec.Struct):
    content: list[Block]
    id: str | None = None
    model: str | None = None
    type: str | None = None
    role: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


_decode = msgspec.json.Decoder(_Reply).decode


class MessagesReply:
    """One whole reply; see `dialects._base.WholeReply`."""

    record = b""

    def __init__(self, body: bytes, rules: UsageRules, frame: Frame) -> None:
        self._body = body
        self._rules = rules
        self._reply = _read(body)
        self.tally = Tally(
            reply_id=self._reply.id or f"msg_{frame.reply_id}",
            model_served=self._reply.model or "",
            has_output=True,
        )
        for block in self._reply.content:
            self._note(block)
        reason = finish_reason(self._reply.stop_reason, has_calls=bool(self.tally.called))
        self.tally.finish_reason = reason.value

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        raw = self._reply.usage
        return messages_usage.read_usage(raw, self._rules) if raw else None

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        reply, raw = self._reply, self._reply.usage
        reason = mended_stop_reason(
            reply.stop_reason, stop_text=reply.stop_sequence, has_calls=bool(self.tally.called)
        )
        is_right = reply.type == "message" and reply.role == "assistant" and bool(reply.id)
        is_right = is_right and reply.model is not None and reply.stop_reason == reason
        if is_right and messages_usage.is_written_alike(usage, raw):
            return self._body
        try:
            fields: dict[str, Any] = dict(decode_fields(self._body))
        except UNREADABLE:
            return self._body  # In parts that matter to nobody here it is odd; callers may cope.
        fields["type"], fields["role"] = "message", "assistant"
        fields["id"], fields["model"] = self.tally.reply_id, self.tally.model_served
        fields["stop_reason"] = reason
        fields.setdefault("stop_sequence", None)
        fields["usage"] = messages_usage.written_usage(usage, raw)
        return encode(fields)

    def _note(self, block: Block) -> None:
        tally = self.tally
        match block.type:
            case "text" | "thinking":
                tally.output.append(block.text or block.thinking or "")
                if block.signature:
                    tally.sealed.append(block.signature)
            case "redacted_thinking" if block.data:
                tally.sealed.append(block.data)
            case "tool_use":
                tally.output.append((block.name or "") + bytes(block.input).decode())
                tally.called.append(block.name or "")
                tally.call_ids.append(block.id or "")
            case _:
                pass


def _read(body: bytes) -> _Reply:
    try:
        reply = _decode(body)
    except UNREADABLE as error:
        raise failure_in(body, error) from None
    if is_there(reply.error):
        raise EmbeddedError(body)
    return reply


def whole_as_events(body: bytes) -> list[bytes]:
    """Return a whole reply as the data of a stream's events.

    Raises like `MessagesReply`: `EmbeddedError` for an error, BAD_REPLY for nonsense.
    """
    _read(body)
    try:
        message = decode_any(body)
    except UNREADABLE:
        text = "The upstream sent a reply that could not be read."
        raise GroxyError(ErrorKind.BAD_REPLY, text) from None
    content, usage = message.pop("content"), message.get("usage")
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence")}
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(content):
        empty, deltas = _unfolded(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": ending, "usage": usage})
    events.append({"type": "message_stop"})
    return [encode(event) for event in events]


def _unfolded(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it starts, and the deltas that fill it; others start whole."""
    match block["type"]:
        case "text":
            deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": block.get("text") or ""}]
            citations = block.get("citations")
            deltas += [
                {"type": "citations_delta", "citation": citation}
                for citation in (citations if isinstance(citations, list) else ())
            ]
            return {"type": "text", "text": ""}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block.get("thinking") or ""}]
            if block.get("signature"):
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case "tool_use":
            text = encode(block.get("input") or {}).decode()
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": text}]
        case _:
            return block, []
