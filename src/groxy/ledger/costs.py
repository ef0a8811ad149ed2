"""What an attempt cost: the upstream's own bill if it gave one, else the price list's.

Prices nothing it does not know: without bill and price the cost is 0 and its source says `none`.
"""

from groxy.core.money import MAX_COST_TICKS, Price, cost_of
from groxy.core.usage import Usage

BY_UPSTREAM = "upstream"
BY_CATALOG = "catalog"
UNPRICED = "none"


def attempt_cost(usage: Usage, price: Price | None, *, is_cached: bool) -> tuple[int, str]:
    """Return the cost in ticks and where it is from.

    `is_cached` is true when the upstream answered from a cache: it replays old usage and bills
    nothing (Cloudflare's `cf-aig-cache-status: HIT`, docs, 2026-08).
    """
    if is_cached:
        return 0, BY_UPSTREAM
    if usage.cost_ticks is not None:
        return min(max(usage.cost_ticks, 0), MAX_COST_TICKS), BY_UPSTREAM
    listed = list_cost(usage, price, is_cached=False)
    return (0, UNPRICED) if listed is None else (listed, BY_CATALOG)


def list_cost(usage: Usage, price: Price | None, *, is_cached: bool) -> int | None:
    """Return what the price list asks for it, in ticks, whatever the upstream billed.

    None where there is no price, and where nothing was counted: a bill alone says nothing of what
    it is for.
    """
    if is_cached:
        return 0
    if price is None or (usage.is_empty and usage.tool_calls <= 0):
        return None
    return cost_of(usage, price)
