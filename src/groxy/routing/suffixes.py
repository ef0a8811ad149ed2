"""Suffixes of model names: what OpenRouter's clients write behind a colon.

In: a name as it was asked for. Out: the name without them, and what they wish for. Whether a name
is to be read like this at all is the router's business: a server may have a model of that name.
Source: OpenRouterTeam/docs, guides/routing/model-variants, August 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from groxy.core.preferences import SortBy

_SORTS: Mapping[str, SortBy] = {"nitro": SortBy.THROUGHPUT, "floor": SortBy.PRICE}
# Variants that only OpenRouter has; elsewhere the plain model is the nearest thing to them.
_KNOWN = _SORTS.keys() | {"online", "free", "extended", "exacto", "thinking"}


@dataclass(frozen=True, slots=True)
class SuffixedName:
    """A model name in its parts."""

    base: str
    suffix: str = ""
    """All suffixes with their colons, such as `:online:nitro`."""
    sort: SortBy | None = None
    """The order that they ask for; the first one counts."""


def read_suffixes(asked: str) -> SuffixedName:
    """Return a name in its parts; a suffix that is not known belongs to the name."""
    base, sort = asked, None
    while True:
        rest, _, word = base.rpartition(":")
        if not rest or word not in _KNOWN:
            return SuffixedName(base, asked[len(base) :], sort)
        base, sort = rest, _SORTS.get(word, sort)
