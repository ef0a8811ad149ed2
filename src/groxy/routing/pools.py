"""Pools: the three tiers of accounts, and which of them may serve a model.

In: the tier that a model asks for. Out: the pools to try, first choice first. It must not know
accounts, models or anything that changes while the gateway runs.
"""

from enum import Enum


class Pool(Enum):
    """A tier of accounts. The order of the members is the order from small to large."""

    BASIC = "basic"
    SUPER = "super"
    HEAVY = "heavy"


_FROM_SMALL_TO_LARGE = tuple(Pool)


def pools_for(tier: Pool, *, prefer_best: bool) -> tuple[Pool, ...]:
    """Return the pools that may serve a model of `tier`, first choice first.

    A larger pool may always stand in for a smaller one, never the other way round. `prefer_best`
    turns the order: the largest pool is tried first.
    """
    fitting = _FROM_SMALL_TO_LARGE[_FROM_SMALL_TO_LARGE.index(tier) :]
    return fitting[::-1] if prefer_best else fitting
