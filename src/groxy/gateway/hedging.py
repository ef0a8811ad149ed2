"""Hedging: a second account is asked when the first takes unusually long to begin.

In: how long replies took to begin. Out: when to hedge, and whether it may be done. Of two accounts
the first that has something to say serves; the other is ended, and what it may have cost is the
operator's, never the caller's. Off by default, and bounded in number and in cost.
"""

from collections import deque
from dataclasses import dataclass

_REMEMBERED = 256
_FEWEST = 20
"""Replies to have seen of a model before its percentile means anything."""
_MOST_MODELS = 1024
_MOST_SAVED = 10.0
"""Hedges that may follow each other at once."""
_SORT_EVERY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeRules:
    """The settings of it."""

    percentile: float = 0.0
    """Of the times to the first event: after this one another account is asked; 0 is never."""
    max_percent: float = 5.0
    """Hedged requests, of a hundred."""
    max_cost_ticks: int = 0
    """What one may cost, by estimate; 0 is any."""


class _Times:
    """How long a model's replies took to begin, the newest ones."""

    __slots__ = ("_newest", "_since", "_sorted")

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=_REMEMBERED)
        self._sorted: list[float] = []
        self._since = 0

    def add(self, seconds: float) -> None:
        self._newest.append(seconds)
        self._since += 1

    def percentile(self, percent: float) -> float | None:
        if len(self._newest) < _FEWEST:
            return None
        if not self._sorted or self._since >= _SORT_EVERY:
            self._sorted, self._since = sorted(self._newest), 0
        return self._sorted[min(int(len(self._sorted) * percent / 100), len(self._sorted) - 1)]


class Hedger:
    """Decides about hedges, for all requests of this process."""

    def __init__(self, rules: HedgeRules | None = None) -> None:
        self.rules = rules or HedgeRules()
        self._times: dict[str, _Times] = {}
        self._saved = 1.0

    @property
    def is_on(self) -> bool:
        """True when requests are hedged at all."""
        return self.rules.percentile > 0.0

    def note_request(self) -> None:
        """Count a request: each saves up a part of a hedge."""
        self._saved = min(self._saved + self.rules.max_percent / 100, _MOST_SAVED)

    def note_begun(self, model: str, seconds: float) -> None:
        """Take in how long a reply took to begin."""
        times = self._times.get(model)
        if times is None:
            if len(self._times) >= _MOST_MODELS:
                self._times.clear()
            times = self._times[model] = _Times()
        times.add(seconds)

    def delay_s(self, model: str, cost_ticks: int | None) -> float | None:
        """Return after how long to hedge a request that would cost so much; None for not at all.

        A cost that is not known is too much, where there is a bound.
        """
        most = self.rules.max_cost_ticks
        if not self.is_on or (most and (cost_ticks is None or cost_ticks > most)):
            return None
        times = self._times.get(model)
        return None if times is None else times.percentile(self.rules.percentile)

    def take(self) -> bool:
        """Return whether one more may be hedged now, and count it."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
