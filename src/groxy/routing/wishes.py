"""Wishes: a caller's preferences, turned into which accounts may serve and in which order.

In: candidates and `Preferences`. Out: those that are left, each with its rank. Names are those of
our upstreams and accounts. OpenRouter acts on the same wishes itself, and means its own providers:
its accounts stay unless the wish is plainly about them. Nothing here depends on the moment.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from groxy.core.money import usd_from_ticks
from groxy.core.preferences import Preferences
from groxy.routing.account import Account
from groxy.routing.candidate import Candidate
from groxy.routing.model import Model

_IGNORED = str.maketrans("", "", " -_")
Rank = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Sifted:
    """What preferences leave of some candidates."""

    ranked: list[tuple[Rank, Candidate]]
    """With the rank of each, the lowest first choice; in the order they came in."""
    excluded_by: str = ""
    """The wish that left nothing, by its field below `provider`."""


def key_of(name: str) -> str:
    """Return a name as it is compared: without case, spaces, dashes and underscores."""
    return name.casefold().translate(_IGNORED)


class Names:
    """All names that mean an account of ours; made anew when the accounts change."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._keys = {account.id: _keys_of(account) for account in accounts}
        self._all = frozenset[str]().union(*self._keys.values())

    def keys(self, account: Account) -> frozenset[str]:
        """Return all names that mean an account."""
        return self._keys[account.id]

    def has(self, key: str) -> bool:
        """True when a name means any account."""
        return key in self._all


def _keys_of(account: Account) -> frozenset[str]:
    names = (account.upstream.name, account.upstream.title, account.name)
    return frozenset(key_of(name) for name in names if name)


def sift(candidates: Sequence[Candidate], wished: Preferences, names: Names) -> Sifted:
    """Return which candidates `wished` leaves."""
    only, order = _Named(wished.only, names), _Named(wished.order, names)
    left = list(candidates)
    for field, passes in _tests(wished, only, order, _Named(wished.ignore, names)):
        left = [candidate for candidate in left if passes(candidate)]
        if not left:
            return Sifted([], field)
    tags = frozenset(wished.prefer_tags)
    return Sifted([(_rank(candidate.account, only, order, tags), candidate) for candidate in left])


def _tests(
    wished: Preferences, only: "_Named", order: "_Named", ignore: "_Named"
) -> Iterator[tuple[str, Callable[[Candidate], bool]]]:
    """Yield what a candidate has to pass, by the field that asks for it."""
    if not wished.may_collect:
        yield "data_collection", lambda one: not one.account.upstream.may_train
    if wished.max_prompt_usd is not None or wished.max_completion_usd is not None:
        yield "max_price", lambda one: _is_affordable(one.target.model, wished)
    if wished.ignore:
        yield "ignore", lambda one: not ignore.means(one.account)
    if wished.only:
        yield "only", lambda one: only.means(one.account) or only.is_open_to(one.account)
    if wished.order and not wished.allow_fallbacks:
        # Who names an order and wants no other wants nobody that is not in it.
        yield "order", lambda one: order.means(one.account) or order.may_mean(one.account)


def price_of(model: Model | None) -> int | None:
    """Return what models are compared by, in ticks: a million tokens in and out; None = unknown."""
    if model is None or model.price is None:
        return None
    return model.price.base.input + model.price.base.output


class _Named:
    """The names of one wish."""

    def __init__(self, wished: Sequence[str], names: Names) -> None:
        self._places: dict[str, int] = {}
        for place, name in enumerate(wished):
            self._places.setdefault(key_of(name), place)
        self._count = len(wished)
        self._names = names
        known = [names.has(key) for key in self._places]
        self._has_ours = any(known)
        self._has_others = not all(known)

    def means(self, account: Account) -> bool:
        return not self._names.keys(account).isdisjoint(self._places)

    def is_open_to(self, account: Account) -> bool:
        """True for an account that picks providers itself, unless others of ours are named."""
        return account.upstream.follows_preferences and not self._has_ours

    def may_mean(self, account: Account) -> bool:
        """True for an account that picks providers itself, when one of them may be named."""
        return account.upstream.follows_preferences and self._has_others

    def place(self, account: Account) -> int:
        """Return where an account stands in these names; behind them, where it may be meant."""
        own = self._names.keys(account)
        behind = self._count + (not self.may_mean(account))
        return min((self._places[key] for key in own if key in self._places), default=behind)


def _rank(account: Account, only: _Named, order: _Named, tags: frozenset[str]) -> Rank:
    lacks_tags = not tags <= frozenset(account.terms.tags)
    return order.place(account), int(not only.means(account)), int(lacks_tags)


def _is_affordable(model: Model | None, wished: Preferences) -> bool:
    if model is None or model.price is None:
        return False
    rates = model.price.base
    return _is_within(rates.input, wished.max_prompt_usd) and _is_within(
        rates.output, wished.max_completion_usd
    )


def _is_within(ticks: int, most_usd: Decimal | None) -> bool:
    return most_usd is None or usd_from_ticks(ticks) <= most_usd
