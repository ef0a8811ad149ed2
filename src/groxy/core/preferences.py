"""Preferences: what a caller wishes of routing, as OpenRouter's clients say it.

Source: OpenRouterTeam/docs, provider-selection.mdx, August 2026.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum


class SortBy(Enum):
    """What the best account is the first in."""

    PRICE = "price"
    THROUGHPUT = "throughput"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Which accounts to ask, in which order. Names are those of upstreams or accounts."""

    order: tuple[str, ...] = ()
    """These first, in this order."""
    only: tuple[str, ...] = ()
    """No others; () for all."""
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    """False: only the first choice is asked."""
    require_parameters: bool = False
    """True: an account that would leave a setting out is not asked."""
    may_collect: bool = True
    """False: only upstreams that do not keep prompts for training."""
    prefer_tags: tuple[str, ...] = ()
    """Accounts that have all of these go first; the others serve too."""
    sort: SortBy | None = None
    max_prompt_usd: Decimal | None = None
    """US dollars per million input tokens."""
    max_completion_usd: Decimal | None = None


NONE = Preferences()
