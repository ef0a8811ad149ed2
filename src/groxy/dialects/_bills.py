"""Bills inside usage, and how reasoning is counted: the same words in every dialect.

In: the fields of an upstream's usage object that tell what it charged. Out: ticks, or None for a
bill that is missing or cannot be true. Dialects' own `usage` modules read the tokens.
"""

from decimal import Decimal

import msgspec
from msgspec import Raw

from groxy.core.money import TICKS_PER_USD, ticks_from_usd
from groxy.dialects._base import BillField, UsageRules
from groxy.wire.json import UNREADABLE

ABSURD_TOKENS = 1_000_000_000
"""No model's context is near this; a larger count is noise, not usage."""
_ABSURD_TICKS = 1_000_000 * TICKS_PER_USD
"""No reply costs a million dollars; a larger bill is noise, and the books could not hold it."""
_NOTHING = Raw(b"")


class Billed(msgspec.Struct):
    """What any usage object may say of its price; a dialect's own struct adds the tokens."""

    cost_in_usd_ticks: int | None = None
    cost: Raw = _NOTHING
    is_byok: Raw = _NOTHING
    cost_details: Raw = _NOTHING


class _CostDetails(msgspec.Struct):
    upstream_inference_cost: Raw = _NOTHING


_cost_details_decoder = msgspec.json.Decoder(_CostDetails)


def bill_of(wire: Billed, rules: UsageRules) -> int | None:
    """Return the upstream's own bill in ticks, or None when it gave none that can be true."""
    bill = _stated_bill(wire, rules)
    return bill if bill is not None and 0 <= bill <= _ABSURD_TICKS else None


def _stated_bill(wire: Billed, rules: UsageRules) -> int | None:
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


def _ticks_of(usd: Raw) -> int | None:
    try:
        return ticks_from_usd(Decimal(bytes(usd).decode().strip('"')))
    except (ArithmeticError, ValueError):
        return None


def is_reasoning_apart(
    total: int | None, taken: int, made: int, reasoning: int, rules: UsageRules
) -> bool:
    """Return whether reasoning tokens stand beside the tokens `made` and not inside them.

    OpenAI counts them inside; xAI leaves them out (prompt 32 + completion 9 + reasoning 94 = total
    135, docs.x.ai, 2025-07). The total tells which it is; where it does not, the upstream's rule
    decides.
    """
    if reasoning <= 0:
        return False
    if total == taken + made + reasoning:
        return True
    if total == taken + made:
        return False
    return rules.reasoning_apart or reasoning > made
