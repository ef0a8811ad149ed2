"""Upstreams and accounts for tests of routing: nothing is sent anywhere."""

from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account, Directory
from groxy.routing.pools import Pool
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials, Upstream

UPSTREAMS = discover()
BASIC, SUPER, HEAVY = Pool.BASIC, Pool.SUPER, Pool.HEAVY
UNUSED: Any = None
"""In the place of a transport that a test must not use."""


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds


def account(account_id: str = "acc_1", upstream: str | Upstream = "xai", **changes: Any) -> Account:
    """Return an account that is fit to serve."""
    given: dict[str, Any] = {
        "id": account_id,
        "name": account_id,
        "upstream": UPSTREAMS[upstream] if isinstance(upstream, str) else upstream,
        "pool": HEAVY,
        "credentials": Credentials(api_key="xai-key"),
        "transport": UNUSED,
        "origin": "test",
        "headers": {},
    }
    return Account(**{**given, **changes})


def directory_of(*accounts: Account, clock: Clock | None = None) -> Directory:
    """Return a directory with these accounts."""
    directory = Directory(clock or Clock())
    directory.replace(accounts)
    return directory


def failure(kind: ErrorKind, retry_after_s: float | None = None) -> GroxyError:
    """Return an error of a kind."""
    return GroxyError(kind, "It failed.", retry_after_s=retry_after_s)
