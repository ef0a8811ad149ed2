"""What bounds the cost of a Messages reply, and requests with a lower bound.

In: a checked request. Out: its bound, or the same request bounded. Must not know prices.
"""

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from groxy.dialects._base import Asked, OutputBound
from groxy.dialects._bounds import count_entries, lowered, most_in
from groxy.dialects.messages.shapes import OfferedTool, Thinking
from groxy.wire.json import UNREADABLE, decode_fields, encode

_TOKENS = ("max_tokens",)
_CALLERS_TOOLS = ("bash_", "computer_", "memory_", "text_editor_")
"""How the types of Anthropic's own tools begin that the caller runs (platform.claude.com, 2026)."""
_LEAST_BUDGET = 1024
"""Of thoughts; it has to be less than `max_tokens` (platform.claude.com, extended thinking)."""
_NO_THOUGHTS = Raw(b'{"type":"disabled"}')

_decode_tools = msgspec.json.Decoder(list[OfferedTool] | None).decode
_decode_thinking = msgspec.json.Decoder(Thinking | None).decode


def bound_of(asked: Asked) -> OutputBound:
    """Return what bounds the output; there is only one choice."""
    return OutputBound(
        max_tokens=most_in(asked.fields, _TOKENS),
        server_tools=_server_tools(asked.fields.get("tools"))
        + count_entries(asked.fields.get("mcp_servers")),
    )


def _server_tools(raw: Raw | None) -> int:
    if raw is None:
        return 0
    try:
        tools = _decode_tools(raw) or ()
    except UNREADABLE:
        return 0
    return sum(
        not tool.is_custom and not (tool.type or "").startswith(_CALLERS_TOOLS) for tool in tools
    )


def bounded(asked: Asked, max_tokens: int) -> Asked:
    """Return the same request with so many tokens at most, and thoughts that fit into them."""
    lower = lowered(asked, max_tokens, _TOKENS)
    thinking = _fitting(lower.fields.get("thinking"), most_in(lower.fields, _TOKENS) or 0)
    if thinking is None:
        return lower
    return replace(lower, fields=lower.fields | {"thinking": thinking})


def _fitting(raw: Raw | None, most: int) -> Raw | None:
    """Return `thinking` with a budget below `most`; None where it may stay as it is."""
    if raw is None:
        return None
    try:
        thinking = _decode_thinking(raw)
    except UNREADABLE:
        return None
    if thinking is None or thinking.budget_tokens is None or thinking.budget_tokens < most:
        return None
    if most <= _LEAST_BUDGET:
        return _NO_THOUGHTS
    budget = max(most // 2, _LEAST_BUDGET)
    return Raw(encode(decode_fields(raw) | {"budget_tokens": Raw(encode(budget))}))
