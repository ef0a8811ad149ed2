"""Builds everything from settings; starts and stops it. The only file that knows every part.

Start: store, what is left of the books, keys, accounts, gateway, then what runs beside it
(`background`); stop: wait for open requests, write the last entries, close connections. No logic of
requests, no `if` on a name.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from groxy.admin.desk import Desk
from groxy.api.errors import ErrorBoundary
from groxy.app.accounts import AccountMaker
from groxy.app.admin import AdminApi
from groxy.app.alerts import Alerts, alerts_of
from groxy.app.background import Beside, Sharing
from groxy.app.live import (
    LiveSettings,
    cooling_rules_of,
    hedge_rules_of,
    limits_of,
    schedule_of,
)
from groxy.app.loading import Loader
from groxy.app.media import media_of
from groxy.app.money import Money, money_of
from groxy.app.parts import Parts
from groxy.app.payments import stripe_rules_of
from groxy.app.routes import routes_of
from groxy.app.transports import Transports
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import forget_spare_digits, new_id
from groxy.dialects._base import UpstreamsEnd
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway import Gateway
from groxy.gateway.calls import OpenCalls
from groxy.gateway.deferred import DeferredReplies
from groxy.gateway.hedging import Hedger
from groxy.gateway.memory import Memory
from groxy.gateway.replays import Replays
from groxy.ledger.journal import Journal
from groxy.ledger.spool import Spool
from groxy.media.fetch import Fetcher, data_uri
from groxy.observe import logs
from groxy.observe.metrics import Metrics
from groxy.policy.keys import Keyring
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.choice import Strategy
from groxy.routing.overseer import Overseer
from groxy.routing.refresh import Refresher
from groxy.routing.router import Router
from groxy.settings import Loaded, Settings
from groxy.state._base import SharedState
from groxy.state.memory import MemoryState
from groxy.store.database import Database
from groxy.store.kept import KeptStore
from groxy.store.replay import replaying_writer
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import StandingChange, Tally, Written, add_tallies, write_standings
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send
from groxy.wire.tokens import SplintrCounter

if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks either
    os.register_at_fork(after_in_child=forget_spare_digits)

_SETTLE_S = 5.0
"""For requests that were ended to tell their clients and to be entered in the books."""
_LAST_WORD_S = 2.0
"""For telling store and state, when stopping, what they do not know yet."""
_MAX_FETCHED_BYTES = 20 * 1024 * 1024
"""xAI takes pictures of 20 MiB (docs.x.ai, image understanding, 2026)."""
_FETCHED_TYPES = ("image/", "application/pdf", "text/")
_ENDS: Mapping[str, UpstreamsEnd] = {end.name: end for end in (CHAT, RESPONSES, MESSAGES)}
"""The dialects in which upstreams are asked on behalf of others."""


@dataclass(frozen=True, slots=True)
class _Standings:
    """See `routing.overseer.StandingStore`."""

    database: Database

    async def write(self, changes: Sequence[StandingChange]) -> Written:
        """Write what changed of some standings; return what became of that."""
        return await write_standings(self.database, changes)

    async def add_tallies(self, tallies: Sequence[Tally]) -> None:
        """Add counts to those in the store."""
        await add_tallies(self.database, tallies)


@dataclass(kw_only=True)
class Application:
    """A running gateway, as an ASGI application with everything it is made of."""

    asgi: AsgiApp
    gateway: Gateway
    router: Router
    directory: Directory
    database: Database
    state: SharedState
    secret: InstallationSecret
    metrics: Metrics
    catalog: Catalog
    live: LiveSettings
    loader: Loader
    money: Money
    overseer: Overseer
    refresher: Refresher
    sharing: Sharing
    transports: Transports
    kept: KeptStore
    alerts: Alerts
    deferred: DeferredReplies
    open_requests: set[asyncio.Task[None]] = field(default_factory=set)
    log: logs.Logger = field(default_factory=lambda: logs.get_logger("app"))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.live.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, known as open so that stopping can wait for it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self.open_requests.add(task)
        try:
            await self.asgi(scope, receive, send)
        finally:
            self.open_requests.discard(task)

    def end_open_requests(self) -> None:
        """End what is still open: each client is told, and each request entered in the books."""
        for task in self.open_requests:
            task.cancel()

    async def drain(self, grace_s: float) -> None:
        """Wait until no request is open; end those that still are when the grace is over."""
        if self.open_requests:
            await asyncio.wait(self.open_requests, timeout=grace_s)
            self.end_open_requests()
        if self.open_requests:
            await asyncio.wait(self.open_requests, timeout=_SETTLE_S)

    async def load_changes(self) -> None:
        """Put in force what another process changed since it was loaded: the command line, say."""
        await self.loader.load_changes()


@asynccontextmanager
async def running(
    loaded: Loaded, *, is_multiprocess: bool = False, is_at_rest: bool = False
) -> AsyncIterator[Application]:
    """Start a gateway; on leaving, stop it in good order.

    One `is_at_rest` serves whoever calls it in this process and does nothing by itself: no
    schedule, no sharing. That is for commands, beside a gateway that runs.
    """
    settings = loaded.settings
    secret = InstallationSecret.of(settings.data_dir, settings.app.secret_bytes())
    catalog = Catalog.load(settings.models, settings.aliases)
    database = await Database.open(settings.store_url().reveal(), settings.data_dir)
    metrics = Metrics(is_multiprocess=is_multiprocess)
    writer = replaying_writer(database)
    spool = (
        None if is_at_rest else Spool(settings.data_dir, max_bytes=settings.store.spool_max_bytes)
    )
    journal = Journal(
        writer,
        observe_commit=metrics.commit_seconds.observe,
        spool=spool,
        grace_s=settings.store.grace_s,
    )
    application = _assemble(loaded, secret, catalog, database, metrics, journal)
    try:
        await journal.recover()
        await application.load_changes()
        async with asyncio.TaskGroup() as tasks:
            works = [] if is_at_rest else _beside(application)
            beside = [tasks.create_task(work) for work in works]
            try:
                yield application
                await application.drain(settings.server.shutdown_grace_s)
            finally:
                for task in beside:
                    task.cancel()
                await journal.close()
                await _say_last_words(application)
    finally:
        await application.transports.close()
        await application.alerts.close()
        await writer.close()
        with suppress(TimeoutError):  # whoever does not answer any more is left behind
            async with asyncio.timeout(_LAST_WORD_S):
                await application.state.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await database.close()


def _beside(application: Application) -> list[Coroutine[Any, Any, None]]:
    return Beside(
        loader=application.loader,
        money=application.money,
        transports=application.transports,
        sharing=application.sharing,
        overseer=application.overseer,
        refresher=application.refresher,
        kept=application.kept,
        deferred=application.deferred,
        media=application.live.media,
        alerts=application.alerts,
    ).works()


async def _say_last_words(application: Application) -> None:
    """Tell store and state what they do not know yet, as far as they listen."""
    with suppress(GroxyError, TimeoutError):
        async with asyncio.timeout(_LAST_WORD_S):
            await application.overseer.note_credit()
            await application.overseer.flush_tallies()
            await application.sharing.leave()
            await application.money.leave()


def _assemble(
    loaded: Loaded,
    secret: InstallationSecret,
    catalog: Catalog,
    database: Database,
    metrics: Metrics,
    journal: Journal,
) -> Application:
    settings = loaded.settings
    kept = KeptStore(database, secret)
    fetcher = Fetcher(allow_private=settings.features.fetch_private)
    directory = Directory(rules=cooling_rules_of(settings))
    money = money_of(settings, catalog, database, new_id("proc_"))
    journal.on_return = money.admission.books_are_whole
    gateway = Gateway(
        router=_router_of(settings, catalog, directory),
        directory=directory,
        journal=journal,
        metrics=metrics,
        counter=SplintrCounter(),
        prices=money.prices,
        admission=money.admission,
        limits=limits_of(settings),
        ends=_ENDS,
        memory=Memory(kept=kept, secret=secret),
        fetch=_fetching(fetcher),
        hedger=Hedger(hedge_rules_of(settings)),
    )
    loader = _loader_of(loaded, gateway, catalog, fetcher, database, secret)
    loader.money = money
    state = _state_of(settings)
    open_requests: set[asyncio.Task[None]] = set()
    spawn = partial(_spawn, open_requests)
    application = Application(
        asgi=_no_routes_yet,
        gateway=gateway,
        router=gateway.router,
        directory=directory,
        database=database,
        state=state,
        secret=secret,
        metrics=metrics,
        catalog=catalog,
        live=loader.live,
        loader=loader,
        money=money,
        overseer=loader.overseer,
        refresher=loader.refresher,
        sharing=Sharing(state, directory, gateway.router.affinity),
        transports=loader.live.transports,
        kept=kept,
        alerts=alerts_of(database, kept, loader.live),
        deferred=DeferredReplies(gateway=gateway, kept=kept, spawn=spawn),
        open_requests=open_requests,
    )
    application.asgi = ErrorBoundary(_routes(application, AdminApi(_desk_of(application), spawn)))
    return application


def _router_of(settings: Settings, catalog: Catalog, directory: Directory) -> Router:
    return Router(
        catalog,
        directory,
        max_candidates=settings.attempts.max_attempts,
        strategy=Strategy(settings.routing.strategy),
        keeps_together=settings.routing.affinity,
    )


def _loader_of(
    loaded: Loaded,
    gateway: Gateway,
    catalog: Catalog,
    fetcher: Fetcher,
    database: Database,
    secret: InstallationSecret,
) -> Loader:
    """Return what keeps settings, keys, accounts and their standings in force."""
    settings, directory = loaded.settings, gateway.directory
    standings = _Standings(database)
    overseer = Overseer(directory, standings)
    refresher = Refresher(directory, overseer, standings, schedule_of(settings))
    transports = Transports(connect_timeout_s=settings.attempts.connect_timeout_s)
    live = LiveSettings(
        base=loaded,
        means=gateway,
        catalog=catalog,
        refresher=refresher,
        maker=AccountMaker(settings, transports),
        transports=transports,
        fetcher=fetcher,
        database=database,
        secret=secret,
        media=media_of(settings, gateway, catalog, fetcher, database, secret),
    )
    grace_s = settings.store.grace_s
    loader = Loader(
        database=database,
        secret=secret,
        live=live,
        directory=directory,
        overseer=overseer,
        refresher=refresher,
        callers=Keyring(secret.digest, is_open=settings.app.is_open, grace_s=grace_s),
        operators=Keyring(secret.digest, grace_s=grace_s),
    )
    live.on_keys = loader.forget_keys
    gateway.open_calls = OpenCalls(loader.callers.is_in_force)
    gateway.admission.caps_of = loader.callers.caps_of
    return loader


def _desk_of(application: Application) -> Desk:
    loader, live = application.loader, application.live
    is_memory = live.settings.state.url.reveal().startswith("memory:")
    return Desk(
        operators=loader.operators,
        callers=loader.callers,
        directory=application.directory,
        router=application.router,
        overseer=application.overseer,
        refresher=application.refresher,
        database=application.database,
        secret=application.secret,
        state=application.state,
        shelf=live.media.shelf,
        prices=application.money.prices,
        state_kind="memory" if is_memory else "redis",
        config=live,
        checked=live.maker.checked,
        reload=loader.load_changes,
        revision=lambda: loader.accounts_revision,
        takes_key_in_query=lambda: live.settings.admin.query_key,
        shows_docs=lambda: live.settings.admin.docs,
    )


def _spawn(open_requests: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Work that no client waits for, known as open so that stopping waits for it too."""
    # Held in the set until it ends, so it is not lost.
    task = asyncio.get_running_loop().create_task(work)
    open_requests.add(task)
    task.add_done_callback(open_requests.discard)


async def _no_routes_yet(scope: Scope, receive: Receive, send: Send) -> None:
    raise GroxyError(ErrorKind.INTERNAL, "The gateway is starting.")


def _routes(application: Application, admin: AsgiApp) -> AsgiApp:
    parts = Parts(
        gateway=application.gateway,
        media=application.live.media,
        deferred=application.deferred,
        router=application.router,
        catalog=application.catalog,
        directory=application.directory,
        database=application.database,
        metrics=application.metrics,
        counter=SplintrCounter(),
        callers=application.loader.callers,
        admin=admin,
        replays=_replays_of(application),
        reload=application.loader.load_changes,
        has_public_statistics=lambda: application.settings.features.public_statistics,
        stripe=lambda: stripe_rules_of(application.settings),
        max_body_bytes=application.settings.server.max_body_bytes,
    )
    checks = {
        "store": lambda: _ping_store(application.database),
        "state": application.state.ping,
        "accounts": lambda: _check_accounts(application.directory),
    }
    return routes_of(parts, checks)


def _replays_of(application: Application) -> Replays:
    return Replays(
        kept=application.kept,
        state=application.state,
        spawn=partial(_spawn, application.open_requests),
        hours=lambda: application.settings.billing.idempotency_hours,
        wait_s=lambda: application.gateway.limits.deadlines.total_s,
    )


def _fetching(fetcher: Fetcher) -> Callable[[str, str], Coroutine[Any, Any, str]]:
    """Return what fetches a picture or document for an upstream that cannot."""

    async def fetch(url: str, param: str) -> str:
        fetched = await fetcher.fetch(
            url, max_bytes=_MAX_FETCHED_BYTES, accepts=_FETCHED_TYPES, param=param
        )
        return data_uri(fetched)

    return fetch


async def _ping_store(database: Database) -> None:
    await database.revisions()


async def _check_accounts(directory: Directory) -> None:
    now = directory.now()
    if all(account.is_resting(now) for account in directory.accounts):
        raise GroxyError(ErrorKind.NO_ACCOUNT, "No account can serve at the moment.")


def _state_of(settings: Settings) -> SharedState:
    url = settings.state.url.reveal()
    if url.startswith("memory:"):
        return MemoryState()
    from groxy.state.redis import RedisState  # noqa: PLC0415 - 7 MB that one process does not need

    return RedisState.connect(url)
