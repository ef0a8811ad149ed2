"""Outlays: what keys have spent, and what their caps leave.

In: keys. Out: both, as the limits themselves count: where a cap has a balance, what it says; where
nobody asked for one yet, the counts of days. What requests under way hold is not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from groxy.core.grants import Caps
from groxy.policy.periods import spends_of
from groxy.store.database import Database
from groxy.store.keys import StoredKey
from groxy.store.ledger import balances_of
from groxy.store.spending import NOTHING, Spent, spent_of

_NO_CAPS = Caps()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlay:
    """Of one key."""

    spent: Spent = NOTHING
    left: Caps = _NO_CAPS
    """What each cap leaves, in ticks, never negative; None where there is no cap."""


async def outlays_of(
    database: Database, keys: Sequence[StoredKey], now_ms: int
) -> dict[str, Outlay]:
    """Return the outlay of each key, by id."""
    spent = await spent_of(database, [key.id for key in keys], now_ms)
    names = [name for key in keys for name, _, _ in spends_of(key.id, key.grant.caps, now_ms)]
    balances = await balances_of(database, names) if names else {}
    found = {}
    for key in keys:
        left: dict[str, int] = {}
        of_key = spent[key.id]
        for name, cap, _ in spends_of(key.id, key.grant.caps, now_ms):
            word = name.removeprefix(f"spend:{key.id}:").partition(":")[0]
            ticks, seq = balances[name]
            so_far = -ticks if seq else getattr(of_key, word)
            left[word] = max(cap - so_far, 0)
        found[key.id] = Outlay(spent=of_key, left=Caps(**left))
    return found
