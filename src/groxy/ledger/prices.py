"""The price book: which price holds for a model at a moment, and what a caller is charged by it.

In: versions of prices (`store/prices.py`), and the catalog's prices below them. Out: a `Tariff`
for each request, which tells the same price for as long as the request lives, and the sums that
follow from prices. Must not read the store or know who pays.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from groxy.core.grants import PlanGrant
from groxy.core.money import MAX_COST_TICKS, MediaPrice, Price
from groxy.store.prices import PriceVersion

CATALOG = "catalog"
"""The version of a price that is the catalog's, or the operator's settings over it."""
BY_LIST = "list"
"""A plan's basis: always the price list, whatever the upstream billed."""
_UNITS = 1_000_000
_WHOLE_BP = 10_000
_END_OF_TIME = 2**63

Lookup = Callable[[str], tuple[Price | None, MediaPrice | None]]
"""The catalog's prices of a model, by any of its names; (None, None) for a stranger."""
Names = Callable[[str], Sequence[str]]
"""The ids under which versions may stand that hold for a name, best first."""


class Priced(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model costs, and according to what."""

    price: Price | None
    media: MediaPrice | None
    version: str
    """The id of a version, or `CATALOG`."""


class Tariff:
    """The prices of one request, for its whole life.

    Versions that come later do not change it. The catalog may change in place; so what was told
    once of a model is remembered and told again.
    """

    __slots__ = ("_catalog", "_in_force", "_names", "_told")

    def __init__(self, in_force: Mapping[str, PriceVersion], catalog: Lookup, names: Names) -> None:
        self._in_force = in_force
        self._catalog = catalog
        self._names = names
        self._told: dict[str, Priced | None] = {}

    def of(self, model_id: str) -> Priced | None:
        """Return what a model costs, by any of its names; None where nobody knows.

        The newest version in force comes before the catalog; what it leaves open (tokens, or
        pictures and film) is as in the catalog.
        """
        try:
            return self._told[model_id]
        except KeyError:
            found = self._told[model_id] = self._find(model_id)
            return found

    def _find(self, model_id: str) -> Priced | None:
        price, media = self._catalog(model_id)
        in_force = self._in_force
        for name in self._names(model_id) if in_force else ():
            version = in_force.get(name)
            if version is not None:
                return Priced(
                    price=version.price or price, media=version.media or media, version=version.id
                )
        if price is None and media is None:
            return None
        return Priced(price=price, media=media, version=CATALOG)


def _itself(model_id: str) -> Sequence[str]:
    return (model_id,)


class PriceBook:
    """All versions of all prices. One for a process; `replace` brings it up to date."""

    def __init__(self, catalog: Lookup, names: Names = _itself) -> None:
        self._catalog = catalog
        self._names = names
        self._by_model: dict[str, list[PriceVersion]] = {}
        self._moments: list[int] = []
        self._in_force: Mapping[str, PriceVersion] = {}
        self._from_ms, self._until_ms = 0, _END_OF_TIME

    def replace(self, versions: Iterable[PriceVersion]) -> None:
        """Know these versions from now on, and no others, in whatever order they come."""
        by_model: dict[str, list[PriceVersion]] = {}
        for version in sorted(versions, key=lambda one: (one.effective_ms, one.id)):
            by_model.setdefault(version.model, []).append(version)
        self._by_model = by_model
        moments = {one.effective_ms for line in by_model.values() for one in line}
        self._moments = sorted(moments)
        self._from_ms = self._until_ms = 0  # no moment is between them: settled when next asked

    def tariff(self, at_ms: int) -> Tariff:
        """Return the prices in force at a moment (unix milliseconds). Takes less than 1 us."""
        if not self._from_ms <= at_ms < self._until_ms:
            self._settle(at_ms)
        return Tariff(self._in_force, self._catalog, self._names)

    def names_of(self, model_id: str) -> Sequence[str]:
        """Return the ids under which versions may stand that hold for a model, best first."""
        return self._names(model_id)

    def in_force(self, at_ms: int) -> Mapping[str, PriceVersion]:
        """Return the versions in force at a moment, by the model that they name."""
        if not self._from_ms <= at_ms < self._until_ms:
            self._settle(at_ms)
        return self._in_force

    def has_versions(self, model: str) -> bool:
        """Return whether any version names that model."""
        return model in self._by_model

    def is_withdrawn(self, version: PriceVersion) -> bool:
        """Return whether a newer version has the same moment, and so holds in its place."""
        return any(
            one.effective_ms == version.effective_ms and one.id > version.id
            for one in self._by_model.get(version.model, ())
        )

    def _settle(self, at_ms: int) -> None:
        """Find out what is in force; it stays so until the next version's moment."""
        place = bisect_right(self._moments, at_ms)
        in_force: dict[str, PriceVersion] = {}
        for model, line in self._by_model.items():
            count = bisect_right(line, at_ms, key=_moment_of)
            if count:
                in_force[model] = line[count - 1]
        self._in_force = in_force
        self._from_ms = self._moments[place - 1] if place else -_END_OF_TIME
        self._until_ms = self._moments[place] if place < len(self._moments) else _END_OF_TIME


def _moment_of(version: PriceVersion) -> int:
    return version.effective_ms


def charge_of(cost_ticks: int, list_ticks: int | None, plan: PlanGrant) -> int:
    """Return what a caller of a plan pays for what cost so much, in ticks.

    `list_ticks` is what the price list asks for the same; None where it has no price: then the cost
    counts, so that nothing is given away. The mark-up is added and a fraction of a tick is a whole
    one. Never negative, and at most `MAX_COST_TICKS`.
    """
    base = list_ticks if plan.basis == BY_LIST and list_ticks is not None else cost_ticks
    factor = _WHOLE_BP + plan.markup_bp
    if base <= 0 or factor <= 0:
        return 0
    return min(-(-base * factor // _WHOLE_BP), MAX_COST_TICKS)


def upper_bound(price: Price, *, input_tokens: int, output_tokens: int, tool_calls: int = 0) -> int:
    """Return the most that a request can cost, in ticks, that uses no more than these counts.

    Nothing of the input is taken for cached, nor is it known which part of the output is reasoning:
    the dearer price counts. Where long prompts are cheaper than short ones, less input may cost
    more; that counts too.
    """
    taken, made = max(input_tokens, 0), max(output_tokens, 0)
    rates = price.for_input(taken)
    tokens = taken * rates.dearest_input + made * rates.dearest_output
    if rates is not price.base and price.long_from_tokens > 0:
        below = (price.long_from_tokens - 1) * price.base.dearest_input
        tokens = max(tokens, below + made * price.base.dearest_output)
    beside = price.per_request + max(tool_calls, 0) * price.per_tool_call
    return min(-(-tokens // _UNITS) + beside, MAX_COST_TICKS)
