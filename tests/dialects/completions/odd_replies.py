"""Replies that are right in most places: for tests that nothing an upstream sends crashes."""

import json
from typing import Any

from hypothesis import strategies as st

_ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**30) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "choices", "error", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is right, and now and then anything else."""
    return st.integers(0, 30).flatmap(lambda dice: right if dice < 30 else _ODD)


_CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": _mostly(st.integers(0, 2)),
        "text": _mostly(st.text(max_size=3) | st.integers(0, 9)),
        "finish_reason": _mostly(st.sampled_from([None, "", "stop", "length"])),
        "extra": _ODD,
    },
)
_REPLIES = st.fixed_dictionaries(
    {"choices": _mostly(st.lists(_mostly(_CHOICES), max_size=3))},
    optional={
        "id": _mostly(st.text(max_size=3)),
        "model": _mostly(st.text(max_size=3)),
        "created": _mostly(st.integers(0, 2**33)),
        "usage": _mostly(st.just({"prompt_tokens": 3, "completion_tokens": 4})),
        "error": st.sampled_from([None, {}, "", "no"]),
    },
)
_WRITTEN = _mostly(_REPLIES).map(lambda reply: json.dumps(reply).encode())
ODD_BODIES = _WRITTEN | _WRITTEN.flatmap(
    lambda body: (
        st.integers(0, len(body)).map(lambda end: body[:end])
        | st.just(body.replace(b"3", b"1e999"))
        | st.just(body.replace(b"e", b"\xff", 1))
    )
)
"""Bodies that are replies, or nearly, or cut, or not JSON at all."""
