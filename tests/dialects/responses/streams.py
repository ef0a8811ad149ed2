"""Responses for the tests: asked as callers ask, written as upstreams write, read as clients do."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from groxy.core.usage import Usage
from groxy.dialects._base import Asked, BillField, Counting, Frame, StreamRelay, UsageRules
from groxy.dialects.responses import DIALECT

RECORDINGS = Path(__file__).parents[2] / "recordings" / "responses"
DONE = b"data: [DONE]\n\n"
XAI = UsageRules(bill=BillField.TICKS, reasoning_apart=True)
USAGE = Usage(input_tokens=32, cached_tokens=6, output_tokens=119, reasoning_tokens=110)
XAI_USAGE = {
    "input_tokens": 32,
    "input_tokens_details": {"cached_tokens": 6},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 110},
    "total_tokens": 151,
    "num_sources_used": 0,
    "num_server_side_tools_used": 0,
    "cost_in_usd_ticks": 37756000,
}
"""xAI's OpenAPI document, 2026-08: reasoning stands beside the output."""
FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "Changes files."}


def asked(said: Any = "Hello!", **fields: Any) -> Asked:
    """A checked request."""
    body = {"model": "grok-4.7", "input": said} | fields
    return DIALECT.decode_request(json.dumps(body).encode())


def frame(counting: Counting = Counting.OPENAI) -> Frame:
    return Frame(reply_id="abc", created=1752854522, count_input=lambda: 7, counting=counting)


def decoded(fields: Any) -> dict[str, Any]:
    """A body's fields as plain values."""
    return {name: json.loads(bytes(raw)) for name, raw in fields.items()}


def event(kind: str, **fields: Any) -> bytes:
    """One event as an upstream writes it."""
    data = json.dumps({"type": kind} | fields)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def stream(*events: tuple[str, dict[str, Any]]) -> bytes:
    """A numbered stream as OpenAI writes it, with `[DONE]`."""
    numbered = [event(kind, sequence_number=at, **one) for at, (kind, one) in enumerate(events)]
    return b"".join(numbered) + DONE


def reply(output: Any = (), status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A reply object as xAI writes it."""
    return {
        "id": "a3d1008e-4544-40d4-d075-11527e794e4a",
        "object": "response",
        "created_at": 1752854522,
        "model": "grok-4.7-0901",
        "status": status,
        "output": list(output),
        "usage": XAI_USAGE if status != "in_progress" else None,
        "store": False,
        "previous_response_id": None,
    } | fields


def message(text: str = "Hi there.", item_id: str = "msg_1", **fields: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []} | fields
    head = {"id": item_id, "type": "message", "role": "assistant", "status": "completed"}
    return head | {"content": [part]}


def thoughts(text: str = "Hm.", sealed: str | None = "SEALED", item_id: str = "rs_1") -> Any:
    item: dict[str, Any] = {"id": item_id, "type": "reasoning", "status": "completed"}
    item["summary"] = [{"type": "summary_text", "text": text}] if text else []
    return item | ({"encrypted_content": sealed} if sealed else {})


def call(arguments: str = '{"city":"Oslo"}', name: str = "get_weather", **fields: Any) -> Any:
    head = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1"}
    return head | {"name": name, "arguments": arguments} | fields


def texts(*pieces: str, output_index: int = 0, item_id: str = "msg_1") -> list[Any]:
    """The events of a message."""
    at = {"item_id": item_id, "output_index": output_index, "content_index": 0}
    whole = message("".join(pieces), item_id)
    part = whole["content"][0]
    opened = whole | {"status": "in_progress", "content": []}
    here = {"output_index": output_index}
    return [
        ("response.output_item.added", here | {"item": opened}),
        ("response.content_part.added", at | {"part": part | {"text": ""}}),
        *(("response.output_text.delta", at | {"delta": one, "logprobs": []}) for one in pieces),
        ("response.output_text.done", at | {"text": "".join(pieces), "logprobs": []}),
        ("response.content_part.done", at | {"part": part}),
        ("response.output_item.done", here | {"item": whole}),
    ]


def calls(*pieces: str, output_index: int = 0, **fields: Any) -> list[Any]:
    """The events of a function call."""
    whole = call("".join(pieces), **fields)
    at = {"item_id": whole["id"], "output_index": output_index}
    here = {"output_index": output_index}
    opened = whole | {"status": "in_progress", "arguments": ""}
    kind = "response.function_call_arguments"
    done = at | {"arguments": whole["arguments"], "name": whole["name"]}
    return [
        ("response.output_item.added", here | {"item": opened}),
        *((f"{kind}.delta", at | {"delta": one}) for one in pieces),
        (f"{kind}.done", done),
        ("response.output_item.done", here | {"item": whole}),
    ]


def begun() -> list[Any]:
    """The events that open a stream."""
    opened = {"response": reply(status="in_progress")}
    return [("response.created", opened), ("response.in_progress", opened)]


def ended(*output: Any, kind: str = "response.completed", **fields: Any) -> list[Any]:
    """The terminal event."""
    return [(kind, {"response": reply(output, **fields)})]


# ------------------------------------------------------------------------------- a strict client


@cache
def _events() -> TypeAdapter[Any]:
    return TypeAdapter(ResponseStreamEvent)


@cache
def _replies() -> TypeAdapter[Any]:
    return TypeAdapter(Response)


def checked_reply(body: bytes | dict[str, Any]) -> dict[str, Any]:
    """A reply object that the typed client accepts."""
    read: dict[str, Any] = json.loads(body) if isinstance(body, bytes) else body
    _replies().validate_json(_in_openais_words(read), strict=True)
    return read


def _in_openais_words(read: dict[str, Any]) -> str:
    """What the typed client can know: xAI's own x_search, echoed, is no tool of OpenAI's."""
    held = read.get("response", read)
    if not held.get("tools"):
        return json.dumps(read)
    held = held | {"tools": [one for one in held["tools"] if one["type"] != "x_search"]}
    return json.dumps(read | {"response": held} if "response" in read else held)


def heard(sent: bytes, *, is_open: bool = False) -> list[dict[str, Any]]:
    """The events of a stream that the typed client accepts, checked the way clients rely on them.

    `is_open` for a stream that is not yet at its end.
    """
    blocks = sent.split(b"\n\n")
    assert blocks.pop() == b""
    if not is_open:
        assert blocks.pop() == b"data: [DONE]"
    found = []
    for block in blocks:
        name, data = block.split(b"\n")
        one = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + one["type"].encode()
        _events().validate_json(_in_openais_words(one), strict=True)
        found.append(one)
    numbers = [one["sequence_number"] for one in found]
    assert numbers == sorted(set(numbers)), "numbers rise"
    if found:
        assert found[0]["type"] == "response.created"
    return found


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types, without what they have in common."""
    return [one["type"].removeprefix("response.") for one in events]


def final(sent: bytes) -> dict[str, Any]:
    """The reply object in the terminal event, the way a client folds the events checked."""
    events = heard(sent)
    last: dict[str, Any] = events[-1]["response"]
    if events[-1]["type"] != "response.failed":
        done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        assert done == last["output"], "what is done is what the reply has"
    return last


def relayed(
    sent: bytes, request: Asked | None = None, *, rules: UsageRules = XAI, size: int = 0
) -> tuple[StreamRelay, bytes]:
    """Relay a stream in portions of `size` bytes, as the gateway does, to its end."""
    relay = DIALECT.relay(request or asked(), rules, frame())
    step = size or len(sent) or 1
    passed = b"".join([relay.feed(sent[at : at + step]) for at in range(0, len(sent), step)])
    passed += relay.close()
    if relay.is_complete:
        passed += relay.finish(relay.reported_usage() or USAGE)
    return relay, passed
