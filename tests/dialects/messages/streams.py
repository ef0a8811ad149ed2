"""Messages for the tests: asked as callers ask, written as upstreams write, read as clients do."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import strategies as st
from pydantic import TypeAdapter

from groxy.core.events import Event, Finished, FinishReason, Started
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, BillField, Frame, UsageRules
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.encoder import MessagesEncoder

RULES = UsageRules()
TICKS = UsageRules(bill=BillField.TICKS)
USAGE = Usage(input_tokens=40, cached_tokens=8, output_tokens=12)
STARTED = Started(reply_id="up", model_served="grok-4.7", created=0)
STOPPED = Finished(reason=FinishReason.STOP)
COUNTED = 33
"""What the gateway estimates the request to take."""
PIXEL = "iVBORw0KGgo="
FOREIGN_SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def body_of(said: Any = "Hello", **fields: Any) -> bytes:
    """A body; `said` is the only user's turn, or the list of all messages."""
    is_history = isinstance(said, list) and bool(said) and "role" in said[0]
    messages = said if is_history else [{"role": "user", "content": said}]
    return json.dumps(
        {"model": "grok-4.7", "max_tokens": 100, "messages": messages} | fields
    ).encode()


def asked(said: Any = "Hello", **fields: Any) -> Asked:
    """A checked request."""
    return DIALECT.decode_request(body_of(said, **fields))


def asked_to_think(**fields: Any) -> Asked:
    """A checked request of a caller who wants to see thoughts."""
    return asked(**{"thinking": {"type": "adaptive"}} | fields)


def frame(counted: Callable[[], int] = lambda: COUNTED) -> Frame:
    return Frame(reply_id="abc", created=1785000000, count_input=counted)


def decoded(fields: Any) -> dict[str, Any]:
    """A body's fields as plain values."""
    return {name: json.loads(bytes(raw)) for name, raw in fields.items()}


# ---------------------------------------------------------------------------- an upstream's words


def event(kind: str, *, named: bool = True, **fields: Any) -> bytes:
    """One event as an upstream writes it."""
    line = f"event: {kind}\n".encode() if named else b""
    return line + b"data: " + json.dumps({"type": kind} | fields).encode() + b"\n\n"


def begins(**usage: Any) -> bytes:
    """The start of a message."""
    message: dict[str, Any] = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "grok-4.7",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1} | usage,
    }
    return event("message_start", message=message)


def opens(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind} | fields)


def adds(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind} | fields)


def closes(index: int) -> bytes:
    return event("content_block_stop", index=index)


def says(text: str, index: int = 0) -> bytes:
    """A whole text block."""
    return opens(index, "text", text="") + adds(index, "text_delta", text=text) + closes(index)


def calls(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    """A whole tool call."""
    return (
        opens(index, "tool_use", id=call_id, name=name, input={})
        + b"".join(adds(index, "input_json_delta", partial_json=piece) for piece in pieces)
        + closes(index)
    )


def ends(reason: str | None = "end_turn", stop: str | None = None, **usage: Any) -> bytes:
    """The end of a message."""
    delta = {"stop_reason": reason, "stop_sequence": stop}
    return event("message_delta", delta=delta, usage={"output_tokens": 7} | usage) + event(
        "message_stop"
    )


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at these places."""
    places = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=6)


# ------------------------------------------------------------------------------- a strict client


def events_of(sent: bytes) -> list[dict[str, Any]]:
    """The events of a stream as the official client takes them: typed, and named alike."""
    blocks = sent.split(b"\n\n")
    assert blocks.pop() == b""
    events = []
    for block in blocks:
        name, data = block.split(b"\n")
        fields = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + fields["type"].encode()
        if fields["type"] not in ("ping", "error", "new"):
            _EVENT.validate_python(fields, strict=True)
        events.append(fields)
    return events


def kinds_of(sent: bytes) -> list[str]:
    return [one["type"] for one in events_of(sent)]


def heard(sent: bytes) -> dict[str, Any]:
    """The message that the official client makes of a stream; blocks come one after another."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    open_index, last = None, -1
    for fields in events_of(sent):
        match fields["type"]:
            case "content_block_start":
                assert open_index is None
                assert fields["index"] == last + 1
                open_index = last = fields["index"]
            case "content_block_delta":
                assert fields["index"] == open_index
            case "content_block_stop":
                assert fields["index"] == open_index
                open_index = None
            case "ping":
                continue
            case _:
                pass
        snapshot = accumulate_event(
            event=_EVENT.validate_python(fields), current_snapshot=snapshot, json_bufs=buffers
        )
    assert open_index is None
    message = snapshot.to_dict()
    message.pop("stop_details", None)  # The client's own addition.
    return message_of(json.dumps(message).encode())


def message_of(body: bytes) -> dict[str, Any]:
    """A whole message, if the official client's types accept it."""
    fields: dict[str, Any] = json.loads(body)
    Message.model_validate(fields, strict=True)
    return fields


def streamed(*events: Event, usage: Usage = USAGE, **fields: Any) -> bytes:
    """What the encoder makes of events, one by one; thoughts are asked for."""
    encoder = MessagesEncoder(asked_to_think(**fields), frame())
    return b"".join(encoder.feed(one) for one in events) + encoder.finish(usage)


def folded(*events: Event, usage: Usage = USAGE, **fields: Any) -> dict[str, Any]:
    """What the encoder makes of events at once; thoughts are asked for."""
    encoder = MessagesEncoder(asked_to_think(**fields), frame())
    return message_of(encoder.whole(events, usage))
