"""Upstreams and accounts for tests of routing: nothing is sent anywhere."""

from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.pools import Pool
from groxy.routing.router import Plan, Router, Wanted
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials, Upstream

UPSTREAMS = discover()
AUTH, LIMITED = ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_LIMITED
QUOTA, DOWN = ErrorKind.UPSTREAM_QUOTA, ErrorKind.UPSTREAM_DOWN
BASIC, SUPER, HEAVY = Pool.BASIC, Pool.SUPER, Pool.HEAVY
CATALOG = Catalog.load(
    {
        f"{tier}-{'best' if is_best else 'plain'}": {
            "sends": "grok-4.3",
            "tier": tier,
            "prefer_best": is_best,
        }
        for tier in ("basic", "super", "heavy")
        for is_best in (False, True)
    }
)
"""The shipped catalog, with a name for each tier and order of pools."""
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


def router_of(*accounts: Account, most: int = 3, clock: Clock | None = None) -> Router:
    """Return a router over these accounts."""
    return Router(CATALOG, directory_of(*accounts, clock=clock), max_candidates=most)


def planned(router: Router, asked: str, *carriers: str, **wanted: Any) -> Plan:
    """Plan a request that chat alone can carry, unless other carriers are named."""
    return router.plan(Wanted(model=asked, carriers=carriers or ("chat",), **wanted))


def refusal(router: Router, asked: str, *carriers: str, **wanted: Any) -> GroxyError:
    """Return the error that planning a request ends in."""
    with pytest.raises(GroxyError) as caught:
        planned(router, asked, *carriers, **wanted)
    return caught.value


def ids(plan: Plan) -> list[str]:
    """Return the accounts of a plan."""
    return [candidate.account.id for candidate in plan.candidates]


def sent(plan: Plan) -> list[str]:
    """Return the model ids of a plan."""
    return [candidate.model_sent for candidate in plan.candidates]


def dialects(plan: Plan) -> list[str]:
    """Return the dialects of a plan."""
    return [candidate.dialect for candidate in plan.candidates]


def names(router: Router) -> list[str]:
    """Return the names of all models that can be served."""
    return [model if isinstance(model, str) else model.id for model in router.models()]


def rest(
    one: Account, seconds: float, reason: ErrorKind | None, clock: Clock | None = None
) -> Account:
    """Let an account rest for some time from now on."""
    one.rest_until = (clock or Clock()).at + seconds
    one.rest_reason = reason
    return one


def listing(*models: str) -> dict[str, Any]:
    """Return the change that gives an account a list of its own."""
    return {"models": frozenset(models)}
