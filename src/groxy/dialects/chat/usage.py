"""Chat usage: the only place that reads and writes its token counts.

OpenAI counts reasoning inside `completion_tokens`; xAI leaves it out (prompt 32 + completion 9 +
reasoning 94 = total 135, docs.x.ai, 2025-07). The total tells which it is; where it does not,
the upstream's rule decides. Callers always get OpenAI's way.
"""

from decimal import Decimal
from typing import Any

import msgspec

from groxy.core.money import TICKS_PER_USD, ticks_from_usd
from groxy.core.usage import Usage, clamped
from groxy.dialects._base import BillField, UsageRules
from groxy.wire.json import UNREADABLE, decode_any

_ABSURD_TOKENS = 1_000_000_000
"""No model's context is near this; a larger count is noise, not usage."""
_ABSURD_TICKS = 1_000_000 * TICKS_PER_USD
"""No reply costs a million dollars; a larger bill is noise, and the books could not hold it."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cost_in_usd_ticks: int | None = None
    cost: msgspec.Raw = msgspec.Raw(b"")
    is_byok: msgspec.Raw = msgspec.Raw(b"")
    cost_details: msgspec.Raw = msgspec.Raw(b"")


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(_Usage)
_cost_details_decoder = msgspec.json.Decoder(_CostDetails)


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
    if _is_reasoning_apart(wire, prompt, completion, reasoning, rules):
        completion += reasoning
    if prompt + completion <= 0 or max(prompt, completion) > _ABSURD_TOKENS:
        return None
    prompt_details = wire.prompt_tokens_details
    return clamped(
        Usage(
            input_tokens=prompt,
            cached_tokens=(prompt_details.cached_tokens if prompt_details else None) or 0,
            image_tokens=(prompt_details.image_tokens if prompt_details else None) or 0,
            output_tokens=completion,
            reasoning_tokens=reasoning,
            cost_ticks=_bill_of(wire, rules),
        )
    )


def _is_reasoning_apart(
    wire: _Usage, prompt: int, completion: int, reasoning: int, rules: UsageRules
) -> bool:
    if reasoning <= 0:
        return False
    if wire.total_tokens == prompt + completion + reasoning:
        return True
    if wire.total_tokens == prompt + completion:
        return False
    return rules.reasoning_apart or reasoning > completion


def _bill_of(wire: _Usage, rules: UsageRules) -> int | None:
    """Return the upstream's own bill in ticks, or None when it gave none that can be true."""
    bill = _stated_bill(wire, rules)
    return bill if bill is not None and 0 <= bill <= _ABSURD_TICKS else None


def _stated_bill(wire: _Usage, rules: UsageRules) -> int | None:
    if rules.bill is BillField.TICKS:
        return wire.cost_in_usd_ticks
    if rules.bill is not BillField.USD:
        return None
    cost = _ticks_of(wire.cost)
    if cost is None or bytes(wire.is_byok) != b"true":
        return cost
    # With the account's own key for the model's maker, `cost` is OpenRouter's fee alone; without
    # it the details repeat `cost` (docs, usage-accounting.mdx, 2026-08; ORO-AI/oro v3.0.4).
    try:
        details = _cost_details_decoder.decode(wire.cost_details)
    except UNREADABLE:
        return None
    share = _ticks_of(details.upstream_inference_cost)
    return None if share is None else cost + share


def _ticks_of(usd: msgspec.Raw) -> int | None:
    try:
        return ticks_from_usd(Decimal(bytes(usd).decode().strip('"')))
    except (ArithmeticError, ValueError):
        return None


def written_usage(usage: Usage, reported: bytes | msgspec.Raw = b"") -> dict[str, Any]:
    """Return `usage` in chat form, over what the upstream `reported` so that its extras survive."""
    try:
        written = _object(decode_any(reported))
    except UNREADABLE:
        written = {}
    written["prompt_tokens"] = usage.input_tokens
    written["completion_tokens"] = usage.output_tokens
    written["total_tokens"] = usage.total_tokens
    prompt_details = _object(written.get("prompt_tokens_details"))
    prompt_details["cached_tokens"] = usage.cached_tokens
    written["prompt_tokens_details"] = prompt_details
    details = _object(written.get("completion_tokens_details"))
    details["reasoning_tokens"] = usage.reasoning_tokens
    written["completion_tokens_details"] = details
    return written


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_written_alike(usage: Usage, reported: bytes | msgspec.Raw) -> bool:
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
        and wire.completion_tokens == usage.output_tokens
        and wire.total_tokens == usage.total_tokens
        and (prompt_details.cached_tokens or 0) == usage.cached_tokens
        and (details.reasoning_tokens or 0) == usage.reasoning_tokens
    )
