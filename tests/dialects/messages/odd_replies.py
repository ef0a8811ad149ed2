"""Replies that are right in most places: for tests that nothing an upstream sends crashes."""

import json
from typing import Any

from hypothesis import strategies as st

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
_NAMES = st.sampled_from(
    ["type", "message", "content", "content_block", "delta", "usage", "error", "index", "text"]
)
ODD_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON, with names that mean something in Messages."""


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is right, and now and then anything else."""
    return st.integers(0, 40).flatmap(lambda dice: right if dice < 40 else ODD_JSON)


def _like(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have some of these fields, which are mostly right."""
    mostly = {name: _mostly(value) for name, value in fields.items()}
    return _mostly(st.fixed_dictionaries({}, optional=mostly))


_TEXT = st.text(max_size=3)
_COUNT = st.integers(0, 200)
_INDEX = st.integers(0, 2)
_REASON = st.sampled_from([None, "", "end_turn", "tool_use", "max_tokens", "odd"])
_USAGE = _like(
    input_tokens=_COUNT,
    output_tokens=_COUNT,
    cache_read_input_tokens=_COUNT,
    cache_creation_input_tokens=_COUNT,
    output_tokens_details=_like(thinking_tokens=_COUNT),
)
_BLOCK = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "odd"]
        )
    },
    optional={
        "text": _mostly(_TEXT),
        "thinking": _mostly(_TEXT),
        "signature": _mostly(_TEXT),
        "data": _mostly(_TEXT),
        "id": _mostly(_TEXT),
        "name": _mostly(_TEXT),
        "input": _mostly(st.dictionaries(_TEXT, _LEAVES, max_size=2)),
        "citations": ODD_JSON,
    },
)
_DELTA = _like(
    type=st.sampled_from(["text_delta", "input_json_delta", "thinking_delta", "odd"]),
    text=_TEXT,
    partial_json=_TEXT,
    thinking=_TEXT,
    signature=_TEXT,
    citation=_like(url=_TEXT, title=_TEXT),
    stop_reason=_REASON,
    stop_sequence=_TEXT,
)
_MESSAGE = st.fixed_dictionaries(
    {"content": _mostly(st.lists(_mostly(_BLOCK), max_size=3))},
    optional={
        "id": _mostly(_TEXT),
        "type": _mostly(st.just("message")),
        "role": _mostly(st.just("assistant")),
        "model": _mostly(_TEXT),
        "stop_reason": _mostly(_REASON),
        "stop_sequence": _mostly(st.none() | _TEXT),
        "usage": _USAGE,
        "extra": ODD_JSON,
    },
)
_KINDS = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
        "odd",
    ]
)
_EVENT = _mostly(
    st.fixed_dictionaries(
        {"type": _mostly(_KINDS)},
        optional={
            "index": _mostly(_INDEX),
            "message": _mostly(_MESSAGE),
            "content_block": _mostly(_BLOCK),
            "delta": _DELTA,
            "usage": _USAGE,
            "error": st.sampled_from([None, {}, "", "no"]),
        },
    )
)


def _spoilt(body: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, len(body)).map(lambda end: body[:end]) | st.sampled_from(
        [body.replace(b"3", b"1e999"), body.replace(b"e", b"\xff", 1)]
    )


_WRITTEN = _mostly(_MESSAGE).map(lambda message: json.dumps(message).encode())
ODD_BODIES = _WRITTEN | _WRITTEN.flatmap(_spoilt)
"""Bodies that are replies, or nearly, or cut, or not JSON at all."""

_NAMED = st.sampled_from([b"", b"event: odd\n", b"event: message_stop\n", b"event: \xff\n"])
_ODD_EVENT = st.builds(
    lambda name, fields: name + b"data: " + json.dumps(fields).encode() + b"\n\n", _NAMED, _EVENT
)
ODD_STREAMS = st.lists(_ODD_EVENT | _ODD_EVENT.flatmap(_spoilt), max_size=8).map(b"".join)
"""Streams of which most events are nearly right."""
