"""Marks: what the gateway writes beside a request and a reply, in words that are safe in headers.

In: requests, and names and ids that callers and models choose. Out: names that upstreams and
clients may see.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

from msgspec import Raw

from groxy.dialects._base import Asked

_UNSAFE = re.compile(r"[^\w.:-]", re.ASCII)
_MAX_NAME_CHARS = 64
_MAX_NAMES = 8
_NULL = Raw(b"null")


def own_conversation(key_id: str, conversation: str) -> str:
    """Return what a conversation is called upstream; empty when it is none.

    It is the same for each of its turns, differs from key to key, and tells nothing.
    """
    if not conversation:
        return ""
    seed = f"{key_id}\0{conversation}".encode(errors="replace")
    return blake2b(seed, digest_size=16).hexdigest()


def binding_field(asked: Asked) -> str:
    """Return the field for which only some dialects can carry a request; empty if not known."""
    old = ("functions", "function_call")  # They bind wherever they say anything.
    may_bind = (*old, "search_parameters", "n", "tools", "messages", "input")
    return next((name for name in may_bind if asked.fields.get(name, _NULL) != _NULL), "")


def flagged_tools(called: Sequence[str], offered: frozenset[str]) -> list[str]:
    """Return the tools that were called though they were not offered, each once, a few at most."""
    if not called:
        return []
    strange = dict.fromkeys(name for name in called if name not in offered)
    return [_UNSAFE.sub("_", name)[:_MAX_NAME_CHARS] for name in strange][:_MAX_NAMES]
