"""Usage in the words of chat and completions: the only place that reads and writes those.

OpenAI counts reasoning inside `completion_tokens`; xAI leaves it out (see `_bills`). Callers get
OpenAI's way, unless the operator wants xAI's. Calls of tools that the upstream runs have the same
words in Responses, which reads them from here.
"""

from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.money import usd_from_ticks
from groxy.core.usage import Usage, clamped
from groxy.dialects._base import Counting, UsageRules
from groxy.dialects._bills import ABSURD_TOKENS, Billed, bill_of, is_reasoning_apart
from groxy.wire.json import UNREADABLE, decode_any

_NOTHING = Raw(b"")
_NO_JSON = (b"", b"null")
_FREE_CALLS = frozenset({"mcp_calls"})
_ABSURD_CALLS = 100_000
"""No reply has so many; a larger count is noise."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class ToolsBilled(Billed):
    """What xAI tells of tools that it ran itself; raw, so that nonsense there spoils nothing."""

    num_server_side_tools_used: Raw = _NOTHING
    server_side_tool_usage_details: Raw = _NOTHING


class _Usage(ToolsBilled):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decoder = msgspec.json.Decoder(_Usage)
_count_decoder = msgspec.json.Decoder(int)
_counts_decoder = msgspec.json.Decoder(dict[str, int | None])


def tool_calls_of(wire: ToolsBilled) -> int:
    """Return how many calls of its own tools an upstream bills; 0 when it tells nothing sensible.

    xAI counts the billable ones by tool; calls of a remote MCP server cost tokens only. The plain
    number, which may count failed ones too, is for replies without those (docs.x.ai, tool usage
    details and pricing, 2026-08). Sources (`num_sources_used`) are no calls.
    """
    try:
        if bytes(wire.server_side_tool_usage_details) not in _NO_JSON:
            by_tool = _counts_decoder.decode(wire.server_side_tool_usage_details)
            counts = [count or 0 for name, count in by_tool.items() if name not in _FREE_CALLS]
        elif bytes(wire.num_server_side_tools_used) not in _NO_JSON:
            counts = [_count_decoder.decode(wire.num_server_side_tools_used)]
        else:
            return 0
    except UNREADABLE:
        return 0
    total = sum(counts)
    return total if min(counts, default=0) >= 0 and total <= _ABSURD_CALLS else 0


def read_usage(raw: bytes | msgspec.Raw, rules: UsageRules) -> Usage | None:
    """Return the usage an upstream reported, or None when it is missing, zero or nonsense."""
    try:
        wire = _decoder.decode(raw)
    except UNREADABLE:
        return None
    prompt, completion = wire.prompt_tokens or 0, wire.completion_tokens or 0
    if prompt < 0 or completion < 0:
        return None
    details = wire.completion_tokens_details
    reasoning = (details.reasoning_tokens if details else None) or 0
    if is_reasoning_apart(wire.total_tokens, prompt, completion, reasoning, rules):
        completion += reasoning
    if prompt + completion <= 0 or max(prompt, completion) > ABSURD_TOKENS:
        return None
    prompt_details = wire.prompt_tokens_details
    return clamped(
        Usage(
            input_tokens=prompt,
            cached_tokens=(prompt_details.cached_tokens if prompt_details else None) or 0,
            image_tokens=(prompt_details.image_tokens if prompt_details else None) or 0,
            output_tokens=completion,
            reasoning_tokens=reasoning,
            tool_calls=tool_calls_of(wire),
            cost_ticks=bill_of(wire, rules),
        )
    )


def written_usage(
    usage: Usage,
    reported: bytes | msgspec.Raw = b"",
    *,
    counting: Counting = Counting.OPENAI,
    with_cost: bool = False,
) -> dict[str, Any]:
    """Return `usage` in chat form, over what the upstream `reported` so that its extras survive.

    `with_cost` adds what it cost, where that is known: `cost` in US dollars, as OpenRouter tells
    it, and `cost_in_usd_ticks`, as xAI does.
    """
    try:
        written = _object(decode_any(reported))
    except UNREADABLE:
        written = {}
    written["prompt_tokens"] = usage.input_tokens
    written["completion_tokens"] = _completion_tokens(usage, counting)
    written["total_tokens"] = usage.total_tokens
    prompt_details = _object(written.get("prompt_tokens_details"))
    prompt_details["cached_tokens"] = usage.cached_tokens
    written["prompt_tokens_details"] = prompt_details
    details = _object(written.get("completion_tokens_details"))
    details["reasoning_tokens"] = usage.reasoning_tokens
    written["completion_tokens_details"] = details
    if with_cost and usage.cost_ticks is not None:
        # Bytes: a float could not say every number of ticks.
        written["cost"] = msgspec.Raw(format(usd_from_ticks(usage.cost_ticks), "f").encode())
        written["cost_in_usd_ticks"] = usage.cost_ticks
    return written


def _completion_tokens(usage: Usage, counting: Counting) -> int:
    if counting is Counting.XAI:
        return usage.output_tokens - usage.reasoning_tokens
    return usage.output_tokens


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_written_alike(
    usage: Usage, reported: bytes | msgspec.Raw, counting: Counting = Counting.OPENAI
) -> bool:
    """True when what the upstream reported already is what a caller should read."""
    if not reported or usage.estimated:
        return False
    try:
        wire = _decoder.decode(reported)
    except UNREADABLE:
        return False
    prompt_details = wire.prompt_tokens_details or _PromptDetails()
    details = wire.completion_tokens_details or _CompletionDetails()
    return (
        wire.prompt_tokens == usage.input_tokens
        and wire.completion_tokens == _completion_tokens(usage, counting)
        and wire.total_tokens == usage.total_tokens
        and (prompt_details.cached_tokens or 0) == usage.cached_tokens
        and (details.reasoning_tokens or 0) == usage.reasoning_tokens
    )
