"""Rotation: after which failures another account is tried, and how soon.

In: how an attempt failed. Out: whether the next candidate may try, and the pause before it. It must
not know accounts.
"""

import random
from dataclasses import dataclass

from groxy.core.errors import Fault, GroxyError, NextStep

_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The settings of it."""

    also_on: frozenset[int] = frozenset()
    """Statuses of upstreams after which another account is tried, whatever they mean."""
    never_on: frozenset[int] = frozenset()
    """Statuses after which none is."""
    backoff_s: float = 0.05
    backoff_max_s: float = 1.0

    def may_try_another(self, error: GroxyError, status: int) -> bool:
        """Return whether another account may try after this error; `status` is the upstream's."""
        if status in self.never_on:
            return False
        return status in self.also_on or error.facts.next_step is NextStep.OTHER_ACCOUNT

    def pause_s(self, error: GroxyError, failures: int) -> float:
        """Return how long to wait before the next attempt, after so many failed ones.

        What one account lacks, another may have: that is asked at once. An upstream in trouble is
        given time, more with each failure, and not the same to all who wait (full jitter).
        """
        if error.facts.fault is not Fault.UPSTREAM or self.backoff_s <= 0.0:
            return 0.0
        most = min(self.backoff_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self.backoff_max_s)
        return random.uniform(0.0, most)  # noqa: S311 - jitter, not a secret
