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
    | st.sampled_from(["", "stop", "error", "assistant", "tool_calls"])
)
_NAMES = (
    st.sampled_from(["id", "model", "choices", "usage", "error", "index", "delta", "message"])
    | st.sampled_from(["finish_reason", "role", "content", "reasoning", "tool_calls", "function"])
    | st.sampled_from(["name", "arguments", "type", "prompt_tokens", "upstream_inference_cost"])
)
ODD_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON, with names that mean something in chat."""


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is right, and now and then anything else."""
    return st.integers(0, 40).flatmap(lambda dice: right if dice < 40 else ODD_JSON)


def _like(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have some of these fields, which are mostly right."""
    mostly = {name: _mostly(value) for name, value in fields.items()}
    return _mostly(st.fixed_dictionaries({}, optional=mostly))


_TEXT = st.text(max_size=3)
_COUNT = st.integers(0, 200)
_CALL = _like(
    id=_TEXT,
    index=st.integers(0, 2),
    type=st.sampled_from(["function", "", None]),
    function=_like(name=_TEXT, arguments=_TEXT),
)
_SPEECH = _like(
    role=st.sampled_from(["assistant", None, ""]),
    content=st.none() | _TEXT | st.integers(0, 9) | st.booleans(),
    reasoning=_TEXT,
    reasoning_content=_TEXT,
    tool_calls=st.none() | st.lists(_CALL, max_size=2),
    extra=ODD_JSON,
)
_USAGE = _like(
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    total_tokens=_COUNT,
    prompt_tokens_details=_like(cached_tokens=_COUNT),
    completion_tokens_details=_like(reasoning_tokens=_COUNT),
    cost=st.floats(0, 1) | _TEXT,
    cost_in_usd_ticks=_COUNT,
    cost_details=ODD_JSON,
)
_CHOICE = _like(
    index=st.integers(0, 2),
    delta=_SPEECH,
    message=_SPEECH,
    finish_reason=st.sampled_from([None, "", "stop", "end_turn", "tool_calls", "error"]),
)
_REPLY = st.fixed_dictionaries(
    {"choices": _mostly(st.lists(_CHOICE, max_size=3))},
    optional={
        "id": _mostly(_TEXT),
        "model": _mostly(_TEXT),
        "created": _mostly(st.integers(0, 2**33)),
        "usage": _USAGE,
        "error": st.sampled_from([None, {}, "", [], False, "no"]),
        "extra": ODD_JSON,
    },
)
_WRITTEN = _mostly(_REPLY).map(lambda reply: json.dumps(reply).encode())
ODD_BODIES = _WRITTEN | _WRITTEN.flatmap(
    lambda body: (
        st.integers(0, len(body)).map(lambda end: body[:end])
        | st.just(body.replace(b"3", b"1e999"))
        | st.just(body.replace(b"e", b"\xff", 1))
    )
)
"""Bodies that are replies, or nearly, or cut, or not JSON at all."""
