"""What an attempt cost: the upstream's own bill if it gave one, else the catalog's price.

Prices nothing it does not know: without bill and price the cost is 0 and its source says `none`.
"""

from groxy.core.money import Price, cost_of
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
        return usage.cost_ticks, BY_UPSTREAM
    if price is None or usage.is_empty:
        return 0, UNPRICED
    return cost_of(usage, price), BY_CATALOG
