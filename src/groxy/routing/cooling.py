"""How long what rests: the rules by which a failure becomes a rest.

In: an error and how often it happened. Out: seconds. It must not know accounts.
"""

from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError

_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolingRules:
    """The settings of section `cooling`."""

    limited_s: float = 1.0
    limited_max_s: float = 60.0
    asked_max_s: float = 3600.0
    """An upstream says itself how long to stay away; a wrong header must not lose an account."""
    down_s: float = 5.0
    down_max_s: float = 60.0
    down_after: int = 3
    """A single broken connection says little; so many in a row say the upstream is down."""
    billing_s: float = 3600.0
    confirm_s: float = 30.0

    def rest_s(self, error: GroxyError, failures: int) -> float:
        """Return how long the account, or the model, rests after the `failures`th in a row."""
        asked = min(error.retry_after_s or 0.0, self.asked_max_s)
        if error.kind is ErrorKind.UPSTREAM_AUTH:
            return _doubled(self.confirm_s, failures, self.asked_max_s)
        if error.kind is ErrorKind.UPSTREAM_QUOTA:
            return self.billing_s
        if error.kind is ErrorKind.UPSTREAM_LIMITED:
            return asked or _doubled(self.limited_s, failures, self.limited_max_s)
        if failures < self.down_after:
            return 0.0
        return asked or _doubled(self.down_s, failures - self.down_after + 1, self.down_max_s)


def _doubled(first_s: float, times: int, most_s: float) -> float:
    """Return `first_s`, doubled with each time after the first, up to `most_s`."""
    return min(first_s * 2.0 ** min(max(times - 1, 0), _MOST_DOUBLINGS), max(most_s, first_s))
