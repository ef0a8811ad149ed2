"""Usage of Responses: the only place that reads and writes its token counts.

OpenAI counts reasoning inside `output_tokens`; xAI leaves it out (input 32 + output 9 + reasoning
110 = total 151, its OpenAPI document, 2026-08). The total tells which it is; where it does not, the
upstream's rule decides. xAI's example of a fetched reply counts in the words of chat, which are
read too.
"""

from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.usage import Usage, clamped
from groxy.dialects._base import Counting, UsageRules
from groxy.dialects._bills import ABSURD_TOKENS, bill_of, is_reasoning_apart
from groxy.dialects._completion_usage import ToolsBilled, tool_calls_of
from groxy.wire.json import UNREADABLE, decode_any

_CHAT_WORDS = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    image_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(ToolsBilled):
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    prompt_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


_decoder = msgspec.json.Decoder(_Usage)


def read_usage(raw: bytes | Raw, rules: UsageRules) -> Usage | None:
    """Return the usage an upstream reported, or None when it is missing, zero or nonsense."""
    try:
        wire = _decoder.decode(raw)
    except UNREADABLE:
        return None
    taken = wire.input_tokens if wire.input_tokens is not None else wire.prompt_tokens or 0
    made = wire.output_tokens if wire.output_tokens is not None else wire.completion_tokens or 0
    if taken < 0 or made < 0:
        return None
    out_details = wire.output_tokens_details or wire.completion_tokens_details or _OutputDetails()
    reasoning = out_details.reasoning_tokens or 0
    if is_reasoning_apart(wire.total_tokens, taken, made, reasoning, rules):
        made += reasoning
    if taken + made <= 0 or max(taken, made) > ABSURD_TOKENS:
        return None
    in_details = wire.input_tokens_details or wire.prompt_tokens_details or _InputDetails()
    return clamped(
        Usage(
            input_tokens=taken,
            cached_tokens=in_details.cached_tokens or 0,
            image_tokens=in_details.image_tokens or 0,
            output_tokens=made,
            reasoning_tokens=reasoning,
            tool_calls=tool_calls_of(wire),
            cost_ticks=bill_of(wire, rules),
        )
    )


def written_usage(usage: Usage, counting: Counting, reported: bytes | Raw = b"") -> dict[str, Any]:
    """Return `usage` as Responses tells it, over what the upstream `reported`: extras survive."""
    try:
        written = _object(decode_any(reported))
    except UNREADABLE:
        written = {}
    for name in _CHAT_WORDS:
        written.pop(name, None)
    apart = usage.reasoning_tokens if counting is Counting.XAI else 0
    details = _object(written.get("input_tokens_details"))
    # openai-python 3.52 has it as required.
    details.setdefault("cache_write_tokens", 0)
    written["input_tokens"] = usage.input_tokens
    written["input_tokens_details"] = details | {"cached_tokens": usage.cached_tokens}
    written["output_tokens"] = usage.output_tokens - apart
    written["output_tokens_details"] = _object(written.get("output_tokens_details")) | {
        "reasoning_tokens": usage.reasoning_tokens
    }
    written["total_tokens"] = usage.total_tokens
    if usage.cost_ticks is not None:
        written["cost_in_usd_ticks"] = usage.cost_ticks
    return written


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
