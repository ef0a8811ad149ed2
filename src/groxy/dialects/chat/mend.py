"""What chat replies from real upstreams get wrong, and how it is put right. Pure functions.

Sources: xAI repeats `delta.role`, leaves `finish_reason` empty with tool calls and tool calls
without `index`; Workers AI streams numbers as text; old AI SDKs break on `role: null`; OpenRouter
calls thoughts `reasoning` (seen 2025-2026, listed with their reports in docs/dialects/chat.md).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from groxy.dialects._embedded import is_there
from groxy.dialects.chat.halves import without_halves
from groxy.wire.json import UNREADABLE, decode_any, encode

ABSENT = msgspec.Raw(b"")
"""The value of a field that is not there: compare with `is`, which costs nothing."""
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_FOREIGN_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
}


class CallFunction(msgspec.Struct):
    """The function part of a tool call fragment."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A tool call or a fragment of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: CallFunction | None = None


class Delta(msgspec.Struct):
    """A delta of a stream, or the message of a whole reply."""

    role: str | msgspec.UnsetType | None = msgspec.UNSET
    content: str | int | float | bool | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_details: msgspec.Raw = ABSENT
    annotations: msgspec.Raw = ABSENT
    refusal: msgspec.Raw = ABSENT


class Choice(msgspec.Struct):
    """A choice of a stream's chunk or of a whole reply."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class _Whole(msgspec.Struct):
    """As much of a whole reply's shape as turning it into chunks relies on."""

    choices: list[Choice]
    error: msgspec.Raw = ABSENT


_whole_decoder = msgspec.json.Decoder(_Whole)


def text_of(content: str | float) -> str:
    """Return content as text: a number or boolean the way it stood in the JSON."""
    return content if isinstance(content, str) else encode(content).decode()


def has_whole_calls(delta: Delta | None) -> bool:
    """True when a delta carries tool calls, all of them whole, as xAI sends them."""
    calls = delta.tool_calls if delta is not None else None
    return bool(calls) and all(
        call.function is not None and _is_json(call.function.arguments) for call in calls or ()
    )


def _is_json(text: str | None) -> bool:
    try:
        decode_any((text or "").encode())
    except UNREADABLE:
        return False
    return True


def finish_reason_of(reason: str | None, *, has_calls: bool) -> str | None:
    """Return OpenAI's word for a finish reason; None when the choice has not ended."""
    if reason is None:
        return None
    if reason == "":
        # xAI: "" on the chunk that carries tool calls, and nothing better later. Others have it on
        # every chunk, also on fragments of calls, where it ends nothing.
        return "tool_calls" if has_calls else None
    if reason in FINISH_REASONS:
        return reason
    return _FOREIGN_REASONS.get(reason.lower(), "stop")


def mended_delta(delta: dict[str, Any], calls: Sequence[Call], *, is_first: bool) -> dict[str, Any]:
    """Return `delta` as every client can read it; `calls` are its calls, settled."""
    delta.pop("role", None)
    if is_first:
        delta = {"role": "assistant", **delta}
    if len(delta) == 1 and is_first:
        delta["content"] = ""
    _mend_text(delta)
    for call, settled in zip(delta.get("tool_calls") or (), calls, strict=False):
        _mend_call(call, settled)
    return delta


def mended_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message of a whole reply as every client can read it."""
    message["role"] = "assistant"
    message.setdefault("content", None)
    _mend_text(message)
    for call in message.get("tool_calls") or ():
        call["type"] = call.get("type") or "function"
    return message


def _mend_text(message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, int | float):
        message["content"] = text_of(content)
    thoughts = message.get("reasoning")
    if thoughts and not message.get("reasoning_content"):
        message["reasoning_content"] = thoughts


def _mend_call(call: dict[str, Any], settled: Call) -> None:
    call["index"] = settled.index
    if call.get("id") and not settled.id:
        del call["id"]
        call.pop("type", None)
    elif call.get("id") is not None:
        call["type"] = call.get("type") or "function"
    function = call.get("function") or {}
    if function.get("name") and settled.function is not None and not settled.function.name:
        del function["name"]


def whole_as_chunks(body: bytes) -> list[bytes]:
    """Return a whole reply as the chunks of a stream; a body that is none, or failed, stays whole.

    Cloudflare's guardrails answer a streaming request whole (docs, 2026-08).
    """
    try:
        whole, reply = _whole_decoder.decode(body), decode_any(body)
    except UNREADABLE:
        mended = without_halves(body)
        return [body] if mended == body else whole_as_chunks(mended)
    has_failed = any(choice.finish_reason == "error" for choice in whole.choices)
    if has_failed or not whole.choices or is_there(whole.error):
        return [body]
    head = {key: value for key, value in reply.items() if key not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    chunks = []
    for choice in reply["choices"]:
        index, delta = choice.get("index", 0), choice.pop("message", None) or {}
        reason = choice.pop("finish_reason", None)
        calls = delta.get("tool_calls") or []
        for at, call in enumerate(calls):
            call["index"] = at
        reason = reason or ("tool_calls" if calls else "stop")
        said = choice | {"index": index, "delta": delta, "finish_reason": None}
        ended = {"index": index, "delta": {}, "finish_reason": reason}
        chunks += [encode(head | {"choices": [said]}), encode(head | {"choices": [ended]})]
    if reply.get("usage"):
        chunks.append(encode(head | {"choices": [], "usage": reply["usage"]}))
    return chunks
