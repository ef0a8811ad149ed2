"""What the gateway says of itself: /verify, /status, /storage, /sync.

In: nothing but the question. Out: how the gateway is. Counting 100,000 accounts is done in slices,
so that requests go on meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

import groxy
from groxy.admin.access import Actor
from groxy.admin.desk import Desk
from groxy.admin.shapes import Success, Told
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Status
from groxy.store.accounts import ACCOUNTS

_SLICE = 2_000
_REACH_S = 3.0


class Counts(Told):
    """How many accounts stand how."""

    active: int
    cooling: int
    expired: int
    disabled: int


class Condition(Told):
    """How the gateway is."""

    status: Literal["ok"] = "ok"
    size: int = Field(description="Accounts that are loaded here.", examples=[1200])
    revision: int = Field(description="Revision of the accounts in force here.", examples=[48])
    selection_strategy: str = Field(examples=["quota"])
    version: str = Field(examples=["1.0.0"])
    uptime_s: int = Field(description="Seconds since this process began to serve.")
    accounts: Counts


class Reach(Told):
    """Whether something can be reached, and how fast it answers."""

    reachable: bool
    latency_ms: float | None = Field(description="Null when it cannot be reached.")


class Storage(Told):
    """Where things are kept."""

    type: Literal["sqlite", "postgresql"]
    state: str = Field(description="Shared state: memory or redis.", examples=["memory"])
    store_reach: Reach
    state_reach: Reach


class Synced(Told):
    """What a sync brought."""

    changed: bool
    revision: int


def router(desk: Desk, *, started_at: float) -> APIRouter:
    """Return the endpoints; `started_at` is when this process began to serve, in unix seconds."""
    routes = APIRouter(tags=["system"])

    @routes.get("/verify", summary="Whether the key is right")
    async def verify(actor: Actor) -> Success:
        del actor
        return Success()

    @routes.get("/status", summary="How many accounts there are, and how they stand")
    async def status() -> Condition:
        if not len(desk.directory):
            message = "No accounts are loaded yet. Add some with POST /admin/api/tokens/add."
            raise GroxyError(ErrorKind.NO_ACCOUNT, message, code="directory_not_initialised")
        return Condition(
            size=len(desk.directory),
            revision=desk.revision(),
            selection_strategy=strategy_of(desk),
            version=groxy.__version__,
            uptime_s=max(int(desk.directory.now() - started_at), 0),
            accounts=await _counts(desk),
        )

    @routes.get("/storage", summary="Where accounts, books and shared state are kept")
    async def storage() -> Storage:
        return Storage(
            type="sqlite" if desk.database.is_sqlite else "postgresql",
            state=desk.state_kind,
            store_reach=await _reach(desk.database.revision(ACCOUNTS)),
            state_reach=await _reach(desk.state.ping()),
        )

    @routes.post("/sync", summary="Put in force here, now, what is in the store")
    async def sync() -> Synced:
        before = desk.revision(), desk.directory.generation
        await desk.reload()
        after = desk.revision(), desk.directory.generation
        return Synced(changed=before != after, revision=after[0])

    return routes


def strategy_of(desk: Desk) -> str:
    """Return how accounts are chosen, as the settings say."""
    routing = desk.config.shown().get("routing")
    strategy = routing.get("strategy", "") if isinstance(routing, dict) else ""
    return str(strategy) or "quota"


async def _counts(desk: Desk) -> Counts:
    now = desk.directory.now()
    counts: Counter[Status] = Counter()
    accounts = desk.directory.accounts
    for start in range(0, len(accounts), _SLICE):
        counts.update(one.status(now) for one in accounts[start : start + _SLICE])
        await asyncio.sleep(0)
    return Counts(**{status.value: counts[status] for status in Status})


async def _reach(question: Awaitable[object]) -> Reach:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(_REACH_S):
            await question
    except (GroxyError, TimeoutError):
        return Reach(reachable=False, latency_ms=None)
    return Reach(reachable=True, latency_ms=round((loop.time() - began) * 1000, 3))
