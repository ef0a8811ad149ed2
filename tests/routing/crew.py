"""Accounts for routing tests: whose upstream, pool, state and model list a test chooses."""

from collections.abc import Iterable

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account, Directory
from groxy.routing.catalog import Catalog
from groxy.routing.pools import Pool
from groxy.routing.router import Router
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials
from groxy.wire.http import Outgoing, Reply

UPSTREAMS = discover()
CATALOG = Catalog.load()


class Nowhere:
    """A transport that nothing may use."""

    async def send(self, outgoing: Outgoing) -> Reply:
        raise AssertionError("routing sends nothing")

    async def close(self) -> None:
        pass


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def account(
    name: str,
    *,
    upstream: str = "xai",
    pool: Pool = Pool.HEAVY,
    models: Iterable[str] | None = None,
    in_flight: int = 0,
) -> Account:
    return Account(
        id=name,
        name=name,
        upstream=UPSTREAMS[upstream],
        pool=pool,
        credentials=Credentials(api_key="k", base_url="http://127.0.0.1:9/v1"),
        transport=Nowhere(),
        origin="test",
        headers={},
        models=None if models is None else frozenset(models),
        in_flight=in_flight,
    )


def directory_of(*accounts: Account, clock: Clock | None = None) -> Directory:
    directory = Directory(clock or Clock())
    directory.replace(accounts)
    return directory


def router_of(*accounts: Account, clock: Clock | None = None, most: int = 3) -> Router:
    return Router(CATALOG, directory_of(*accounts, clock=clock), max_candidates=most)


def error(kind: ErrorKind, *, wait_s: float | None = None) -> GroxyError:
    return GroxyError(kind, "scripted", retry_after_s=wait_s)
