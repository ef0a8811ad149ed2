"""Completions usage: read from upstreams, written for callers, in the form of OpenAI.

xAI leaves reasoning out of `completion_tokens` (its OpenAPI document, 2026-08); the total tells,
and where it does not, the upstream's rule decides.
"""

from typing import Any

import msgspec

from groxy.core.usage import Usage, clamped
from groxy.dialects._base import Counting, UsageRules
from groxy.dialects._bills import ABSURD_TOKENS, Billed, bill_of, is_reasoning_apart
from groxy.wire.json import UNREADABLE, decode_any


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(Billed):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decoder = msgspec.json.Decoder(_Usage)


def read_usage(raw: bytes | msgspec.Raw, rules: UsageRules) -> Usage | None:
    """Return the usage an upstream reported, or None when it is missing, zero or nonsense."""
    try:
        wire = _decoder.decode(raw)
    except UNREADABLE:
        return None
    prompt, completion = wire.prompt_tokens or 0, wire.completion_tokens or 0
    if prompt < 0 or completion < 0:
        return None
    details, prompt_details = wire.completion_tokens_details, wire.prompt_tokens_details
    reasoning = max((details.reasoning_tokens if details else None) or 0, 0)
    if is_reasoning_apart(wire.total_tokens, prompt, completion, reasoning, rules):
        completion += reasoning
    if prompt + completion <= 0 or max(prompt, completion) > ABSURD_TOKENS:
        return None
    return clamped(
        Usage(
            input_tokens=prompt,
            cached_tokens=(prompt_details.cached_tokens if prompt_details else None) or 0,
            output_tokens=completion,
            reasoning_tokens=reasoning,
            cost_ticks=bill_of(wire, rules),
        )
    )


def written_usage(
    usage: Usage, reported: bytes | msgspec.Raw = b"", counting: Counting = Counting.OPENAI
) -> dict[str, Any]:
    """Return `usage` over what the upstream `reported`, so that its extras survive."""
    try:
        written = _object(decode_any(reported))
    except UNREADABLE:
        written = {}
    apart = usage.reasoning_tokens if counting is Counting.XAI else 0
    written["prompt_tokens"] = usage.input_tokens
    written["completion_tokens"] = usage.output_tokens - apart
    written["total_tokens"] = usage.total_tokens
    prompt_details = _object(written.get("prompt_tokens_details"))
    written["prompt_tokens_details"] = prompt_details | {"cached_tokens": usage.cached_tokens}
    details = _object(written.get("completion_tokens_details"))
    written["completion_tokens_details"] = details | {"reasoning_tokens": usage.reasoning_tokens}
    return written


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
