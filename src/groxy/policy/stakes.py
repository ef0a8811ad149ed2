"""Stakes: what every request of a caller claims of the gate, worked out once and not each time.

In: a caller. Out: the scopes in which its requests are counted, the purses that they draw on, and
the balances in which its key's spending is counted. They hold until the caller is another, or the
day, where caps are of days, weeks or months. Must not know what a single request needs.
"""

from collections.abc import Sequence

import msgspec

from groxy.core.grants import Rates
from groxy.policy.keys import Caller
from groxy.policy.periods import day_of, has_periods, spends_of
from groxy.state.gates import Draw, Scope

_WHOLE = 100
_KNOWN_CALLERS = 10_000
"""Of each a kilobyte or two."""
_NO_RATES = Rates()


class Stakes(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    draws: tuple[Draw, ...]
    spends: tuple[str, ...]
    """The balances in which a key's spending is counted."""
    until_ms: tuple[int | None, ...]
    """Of each of them: when nobody asks for it any more; None for never."""
    purses: frozenset[str]
    """The names of what it draws on."""
    rates: tuple[tuple[str, Rates, bool], ...]
    """Each scope's name, its limits, and whether they follow the user's balance."""
    _scopes: dict[int, tuple[Scope, ...]] = msgspec.field(default_factory=dict)

    @property
    def is_bound(self) -> bool:
        """True when anything limits the caller, so that it matters what a request takes."""
        return bool(self.draws or self.rates)

    def scopes(self, percent: int = _WHOLE) -> tuple[Scope, ...]:
        """Return the scopes, where limits that follow the balance are so much of what they are."""
        found = self._scopes.get(percent)
        if found is None:
            found = self._scopes[percent] = tuple(
                _scaled(name, rates, percent if is_scaled else _WHOLE)
                for name, rates, is_scaled in self.rates
            )
        return found


class StakeBook:
    """Remembers the stakes of callers."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Caller, int, Stakes]] = {}

    def of(self, caller: Caller, now_ms: int) -> Stakes:
        """Return what a caller's requests claim at a moment."""
        day = day_of(now_ms) if has_periods(caller.grant.caps) else 0
        known = self._known.get(caller.key_id)
        if known is not None and known[0] is caller and known[1] == day:
            return known[2]
        self._known.pop(caller.key_id, None)
        while len(self._known) >= _KNOWN_CALLERS:
            del self._known[next(iter(self._known))]
        stakes = _stakes_of(caller, now_ms)
        self._known[caller.key_id] = (caller, day, stakes)
        return stakes


def _stakes_of(caller: Caller, now_ms: int) -> Stakes:
    draws: list[Draw] = []
    spends: list[str] = []
    untils_ms: list[int | None] = []
    if caller.user_id:
        draws.append(Draw(purse=f"user:{caller.user_id}", floor=-caller.user.overdraft))
    for name, cap, until_ms in spends_of(caller.key_id, caller.grant.caps, now_ms):
        draws.append(Draw(purse=name, floor=-cap))
        spends.append(name)
        untils_ms.append(until_ms)
    return Stakes(
        draws=tuple(draws),
        spends=tuple(spends),
        until_ms=tuple(untils_ms),
        purses=frozenset(draw.purse for draw in draws),
        rates=tuple(_rates_of(caller)),
    )


def _rates_of(caller: Caller) -> Sequence[tuple[str, Rates, bool]]:
    plan = caller.plan.grant
    of_user = plan.user_rates if caller.user.rates is None else caller.user.rates
    every = [
        (f"key:{caller.key_id}", _smaller(caller.grant.rates, plan.key_rates), True),
        (f"user:{caller.user_id}", of_user if caller.user_id else _NO_RATES, True),
        (f"plan:{caller.plan.id}", plan.rates, False),
    ]
    return [one for one in every if one[1] != _NO_RATES]


def _smaller(one: Rates, other: Rates) -> Rates:
    """Return the tighter limit of each kind; 0 is none."""
    return Rates(
        requests=min(one.requests or other.requests, other.requests or one.requests),
        tokens=min(one.tokens or other.tokens, other.tokens or one.tokens),
        concurrency=min(one.concurrency or other.concurrency, other.concurrency or one.concurrency),
    )


def _scaled(name: str, rates: Rates, percent: int) -> Scope:
    """Return a scope; what has a limit keeps one of at least 1."""

    def scaled(limit: int) -> int:
        return max(limit * percent // _WHOLE, 1) if limit else 0

    return Scope(
        name=name,
        requests=scaled(rates.requests),
        tokens=scaled(rates.tokens),
        concurrency=scaled(rates.concurrency),
    )
