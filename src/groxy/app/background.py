"""What runs beside the requests: reading changes, sharing state, checking, counting, purging.

In: a running application. Out: nothing; each task goes on after any failure of store or state, and
says in the log what it could not do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any

from groxy.app.alerts import Alerts
from groxy.app.loading import Loader
from groxy.app.media import Media
from groxy.app.money import Money
from groxy.app.transports import Transports
from groxy.core.errors import GroxyError
from groxy.core.ids import new_id
from groxy.gateway.deferred import RENEW_EVERY_S, DeferredReplies
from groxy.observe import logs
from groxy.routing.accounts import Directory
from groxy.routing.affinity import Affinity
from groxy.routing.overseer import Overseer
from groxy.routing.refresh import Refresher
from groxy.state._base import CoolDown, SharedState
from groxy.store.accounts import purge_accounts
from groxy.store.kept import KeptStore
from groxy.store.retention import Pruner, RetentionRules

_WATCH_EVERY_S = 0.4
"""How often changes by other processes are looked for: they are in force within a second."""
_LOADS_LAST_S = 3.0
"""A process that is silent for so long has nothing open any more."""
_COUNT_EVERY_S = 5.0
_ALERT_EVERY_S = 5.0
_PURGE_EVERY_S = 600.0
_PRUNE_EVERY_S = 300.0
_LONGEST_PAUSE_S = 30.0
"""After work that crashed again and again: the log must stay readable."""
_AGAIN_S = 0.01
"""Before what runs for ever begins, and begins anew after a crash."""
_SETTLE_EVERY_S = 3600.0
_GONE_FOR_MS = 24 * 3600 * 1000
_LEAD_S = 15.0
_AT_ONCE = 16
"""Calls to the shared state at the same time: it has as many connections."""
_LEADER = "refresh"

_log = logs.get_logger("app")


async def repeated(every_s: float, what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work again and again; say so when it fails, and go on.

    What crashes waits twice as long each time, until it ends well or ran for long.
    """
    pause_s = every_s
    while True:
        await asyncio.sleep(pause_s)
        began = time.monotonic()
        try:
            await work()
            pause_s = every_s
        except GroxyError as error:
            _log.warning("work beside failed", work=what, detail=error.detail or error.message)
        except Exception:  # noqa: BLE001 - a defect in one must not end the gateway for all
            _log.exception("work beside crashed", work=what)
            if time.monotonic() - began > _LONGEST_PAUSE_S:  # as what runs for ever does
                pause_s = every_s
            pause_s = max(every_s, min(2 * pause_s, _LONGEST_PAUSE_S))


class Sharing:
    """Tells other processes what happens here, and learns what happens there."""

    def __init__(self, state: SharedState, directory: Directory, affinity: Affinity) -> None:
        self._state = state
        self._directory = directory
        self._affinity = affinity
        self._cursor = ""
        self.process = new_id("proc_")

    async def exchange(self) -> None:
        """Share rests, loads and homes of conversations once."""
        directory, state = self._directory, self._state
        while directory.unshared:
            news_of_rests = list(islice(directory.unshared.items(), _AT_ONCE))
            await asyncio.gather(*(self._tell(name, rest) for name, rest in news_of_rests))
        directory.take_shared(await state.cooling())
        await state.publish_loads(self.process, directory.loads(), ttl_s=_LOADS_LAST_S)
        directory.take_loads(await state.loads_of_others(self.process))
        news, self._affinity.news = self._affinity.news, {}
        if news:
            await state.publish_homes(news)
        self._cursor, homes = await state.homes_since(self._cursor)
        self._affinity.take(homes)

    async def _tell(self, name: str, rest: CoolDown | None) -> None:
        unshared = self._directory.unshared
        await (self._state.warm(name) if rest is None else self._state.cool(name, rest))
        if name in unshared and unshared[name] is rest:  # else there is newer news of it
            del unshared[name]

    async def leads(self) -> bool:
        """Return whether this process does what is done once in a cluster."""
        return await self._state.take_lease(_LEADER, self.process, ttl_s=_LEAD_S)

    async def leave(self) -> None:
        """Leave the work to others, and tell them that nothing is open here."""
        await self._state.drop_lease(_LEADER, self.process)
        await self._state.publish_loads(self.process, {}, ttl_s=_LOADS_LAST_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Everything that runs beside the requests."""

    loader: Loader
    money: Money
    transports: Transports
    sharing: Sharing
    overseer: Overseer
    refresher: Refresher
    kept: KeptStore
    deferred: DeferredReplies
    media: Media
    alerts: Alerts

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run, each for ever."""
        return [
            repeated(_WATCH_EVERY_S, "reading changes", self._watch),
            repeated(_WATCH_EVERY_S, "sharing state", self.sharing.exchange),
            repeated(_WATCH_EVERY_S, "noting standings", self._judge),
            repeated(_WATCH_EVERY_S, "holding", self.money.gate.heartbeat),
            repeated(_COUNT_EVERY_S, "counting", self.overseer.flush_tallies),
            repeated(_ALERT_EVERY_S, "telling low balances", self._alert),
            repeated(_PURGE_EVERY_S, "purging", self._purge),
            repeated(_PRUNE_EVERY_S, "pruning", self._prune),
            repeated(RENEW_EVERY_S, "renewing", self._renew),
            repeated(_SETTLE_EVERY_S, "reconciling media", self._reconcile),
            repeated(_AGAIN_S, "refreshing", lambda: self.refresher.run(self.sharing.leads)),
            repeated(_AGAIN_S, "working on jobs", self.media.worker.run),
        ]

    async def _watch(self) -> None:
        """Read what others changed; let go of accounts whose last request has ended."""
        loader = self.loader
        await loader.load_changes()
        loader.directory.freshen()
        if loader.leaving:
            loader.leaving = [account for account in loader.leaving if account.in_flight]
            used = [one.proxy_url for one in (*loader.directory.accounts, *loader.leaving)]
            await self.transports.close_all_but(used)

    async def _judge(self) -> None:
        # What an operator did elsewhere comes first, or a late note would undo it.
        await self.loader.load_changes()
        await self.overseer.note_credit()
        await self.overseer.settle_doubts()

    async def _purge(self) -> None:
        """Forget what was kept long enough."""
        now_ms = time.time_ns() // 1_000_000
        await self.kept.purge(now_ms)
        await purge_accounts(self.loader.database, now_ms - _GONE_FOR_MS)
        await self.media.shelf.purge()
        await self.media.jobs.purge(now_ms)

    async def _prune(self) -> None:
        """Delete requests that are not kept any more, once in a cluster."""
        if not await self.sharing.leads():
            return
        rules = RetentionRules(**self.loader.live.settings.retention.model_dump())
        pruner = Pruner(self.loader.database, goes_on=self.sharing.leads)
        pruned = await pruner.prune(rules, time.time_ns() // 1_000_000)
        if pruned.is_any:
            _log.info("pruned", requests=pruned.requests, attempts=pruned.attempts)

    async def _alert(self) -> None:
        """Tell of balances that became low, once in a cluster."""
        if await self.sharing.leads():
            await self.alerts.look()

    async def _reconcile(self) -> None:
        """Clear away what crashes left between stored bytes and their index, once in a cluster."""
        if await self.sharing.leads():
            await self.media.shelf.reconcile()

    async def _renew(self) -> None:
        await self.deferred.renew()
