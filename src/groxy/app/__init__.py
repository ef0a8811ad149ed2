"""Builds everything from settings; starts and stops it. The only file that knows every part.

Start: store, keys, accounts, gateway, then the background tasks; stop: wait for open requests,
write the last entries, close connections. No logic of requests, no `if` on a name.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from groxy.api.errors import ErrorBoundary
from groxy.app.accounts import all_accounts
from groxy.app.parts import Parts
from groxy.app.routes import routes_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Counting, UpstreamsEnd
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway import Gateway, Limits
from groxy.gateway.deferred import RENEW_EVERY_S, DeferredReplies
from groxy.gateway.memory import Memory
from groxy.gateway.vigil import Deadlines
from groxy.ledger.journal import Journal
from groxy.media.fetch import Fetcher, data_uri
from groxy.observe import logs
from groxy.observe.metrics import Metrics
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.routing.accounts import Account, Directory
from groxy.routing.catalog import Catalog
from groxy.routing.lists import ListKeeper
from groxy.routing.router import Router
from groxy.settings import Secret, Settings
from groxy.state._base import SharedState
from groxy.state.memory import MemoryState
from groxy.state.redis import RedisState
from groxy.store.accounts import ACCOUNTS
from groxy.store.database import Database
from groxy.store.entries import entry_writer
from groxy.store.kept import KeptStore
from groxy.store.keys import KEYS, KeyRole, StoredKey, list_keys
from groxy.store.secrets import InstallationSecret
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send
from groxy.wire.tokens import SplintrCounter

_SETTLE_S = 5.0
"""For requests that were ended to tell their clients and to be entered in the books."""
_WATCH_EVERY_S = 0.5
"""How often changes by other processes are looked for: they are in force within a second."""
_PURGE_EVERY_S = 600.0
_MAX_FETCHED_BYTES = 20 * 1024 * 1024
"""xAI takes pictures of 20 MiB (docs.x.ai, image understanding, 2026)."""
_FETCHED_TYPES = ("image/", "application/pdf", "text/")
_ENDS: Mapping[str, UpstreamsEnd] = {end.name: end for end in (CHAT, RESPONSES, MESSAGES)}
"""The dialects in which upstreams are asked on behalf of others."""


@dataclass(kw_only=True)
class Application:
    """A running gateway, as an ASGI application with everything it is made of."""

    settings: Settings
    asgi: AsgiApp
    gateway: Gateway
    directory: Directory
    router: Router
    database: Database
    state: SharedState
    secret: InstallationSecret
    metrics: Metrics
    catalog: Catalog
    callers: Keyring
    operators: Keyring
    lists: ListKeeper
    kept: KeptStore
    deferred: DeferredReplies
    revisions: dict[str, int] = field(default_factory=dict)
    """Of each table that other processes change: as it was before it was loaded."""
    leaving: list[Account] = field(default_factory=list)
    """Accounts that are gone but still answer requests that they began."""
    open_requests: set[asyncio.Task[None]] = field(default_factory=set)
    log: logs.Logger = field(default_factory=lambda: logs.get_logger("app"))

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

    async def load_keys(self) -> None:
        """Put the keys of the settings and those of the store in force."""
        app, digest = self.settings.app, self.secret.digest
        stored = [key for key in await list_keys(self.database) if key.revoked_ms is None]
        self.callers.replace(
            [*_set_keys(app.api_key or (), "settings", digest), *_known(stored, KeyRole.CALLER)]
        )
        operator = (app.app_key,) if app.app_key else ()
        self.operators.replace(
            [*_set_keys(operator, "settings-admin", digest), *_known(stored, KeyRole.OPERATOR)]
        )

    async def load_accounts(self) -> None:
        """Put the accounts of the settings and those of the store to work; the sandbox if none."""
        accounts = await all_accounts(self.settings, self.database, self.secret)
        self.leaving += self.directory.replace(accounts)
        self.lists.look_now()

    async def load_changes(self) -> None:
        """Put in force what another process changed since it was loaded: the command line, say."""
        for name, load in ((KEYS, self.load_keys), (ACCOUNTS, self.load_accounts)):
            # Read before the table is: what changes in between is loaded the next time.
            revision = await self.database.revision(name)
            if self.revisions.get(name) != revision:
                await load()
                self.revisions[name] = revision

    async def close_idle_leavers(self) -> None:
        """Close accounts that have gone and whose last request has ended."""
        for account in [account for account in self.leaving if not account.in_flight]:
            self.leaving.remove(account)
            await account.transport.close()


@asynccontextmanager
async def running(
    settings: Settings, *, is_multiprocess: bool = False
) -> AsyncIterator[Application]:
    """Start a gateway; on leaving, stop it in good order."""
    secret = InstallationSecret.of(settings.data_dir)
    catalog = Catalog.load(settings.models, settings.aliases)
    database = await Database.open(settings.store_url().reveal(), settings.data_dir)
    metrics = Metrics(is_multiprocess=is_multiprocess)
    writer = entry_writer(database)
    journal = Journal(writer, observe_commit=metrics.commit_seconds.observe)
    application = _assemble(settings, secret, catalog, database, metrics, journal)
    try:
        await application.load_changes()
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(_watch_changes(application)),
                tasks.create_task(_share_state(application)),
                tasks.create_task(application.lists.run()),
                tasks.create_task(_purge(application)),
                tasks.create_task(_renew_deferred(application)),
            ]
            try:
                yield application
                await _drained(application, settings.server.shutdown_grace_s)
            finally:
                for task in watching:
                    task.cancel()
                await journal.close()
    finally:
        for account in (*application.directory.accounts, *application.leaving):
            await account.transport.close()
        await writer.close()
        await application.state.close()
        await database.close()


def _assemble(
    settings: Settings,
    secret: InstallationSecret,
    catalog: Catalog,
    database: Database,
    metrics: Metrics,
    journal: Journal,
) -> Application:
    directory = Directory()
    router = Router(catalog, directory, max_candidates=settings.attempts.max_attempts)
    kept = KeptStore(database, secret)
    gateway = Gateway(
        router=router,
        directory=directory,
        journal=journal,
        metrics=metrics,
        counter=SplintrCounter(),
        price_of=catalog.price_of,
        limits=_limits_of(settings),
        ends=_ENDS,
        memory=Memory(kept=kept, secret=secret),
        fetch=_fetching(Fetcher(allow_private=settings.features.fetch_private)),
    )
    open_requests: set[asyncio.Task[None]] = set()
    deferred = DeferredReplies(gateway=gateway, kept=kept, spawn=partial(_spawn, open_requests))
    application = Application(
        settings=settings,
        asgi=_no_routes_yet,
        gateway=gateway,
        directory=directory,
        router=router,
        database=database,
        state=_state_of(settings),
        secret=secret,
        metrics=metrics,
        catalog=catalog,
        callers=Keyring(secret.digest, is_open=settings.app.is_open),
        operators=Keyring(secret.digest),
        lists=ListKeeper(directory, every_s=settings.catalog.refresh_s),
        kept=kept,
        deferred=deferred,
        open_requests=open_requests,
    )
    application.asgi = ErrorBoundary(_routes(application))
    return application


def _spawn(open_requests: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Work that no client waits for, known as open so that stopping waits for it too."""
    # Held in the set until it ends, so it is not lost.
    task = asyncio.get_running_loop().create_task(work)
    open_requests.add(task)
    task.add_done_callback(open_requests.discard)


async def _no_routes_yet(scope: Scope, receive: Receive, send: Send) -> None:
    raise GroxyError(ErrorKind.INTERNAL, "The gateway is starting.")


def _routes(application: Application) -> AsgiApp:
    parts = Parts(
        gateway=application.gateway,
        deferred=application.deferred,
        router=application.router,
        catalog=application.catalog,
        directory=application.directory,
        database=application.database,
        metrics=application.metrics,
        counter=SplintrCounter(),
        callers=application.callers,
        operators=application.operators,
        max_body_bytes=application.settings.server.max_body_bytes,
    )
    checks = {
        "store": lambda: _ping_store(application.database),
        "state": application.state.ping,
        "accounts": lambda: _check_accounts(application.directory),
    }
    return routes_of(parts, checks)


def _fetching(fetcher: Fetcher) -> Callable[[str, str], Coroutine[Any, Any, str]]:
    """Return what fetches a picture or document for an upstream that cannot."""

    async def fetch(url: str, param: str) -> str:
        fetched = await fetcher.fetch(
            url, max_bytes=_MAX_FETCHED_BYTES, accepts=_FETCHED_TYPES, param=param
        )
        return data_uri(fetched)

    return fetch


async def _ping_store(database: Database) -> None:
    await database.revision(KEYS)


async def _check_accounts(directory: Directory) -> None:
    now = directory.now()
    if all(account.is_resting(now) for account in directory.accounts):
        raise GroxyError(ErrorKind.NO_ACCOUNT, "No account can serve at the moment.")


def _limits_of(settings: Settings) -> Limits:
    attempts = settings.attempts
    return Limits(
        deadlines=Deadlines(
            first_event_s=attempts.first_event_timeout_s,
            idle_s=attempts.idle_timeout_s,
            total_s=attempts.total_timeout_s,
            keepalive_s=settings.streams.keepalive_s,
        ),
        streams_by_default=settings.features.stream,
        logs_requests=settings.logging.requests,
        counting=Counting(settings.features.usage_counting),
    )


def _state_of(settings: Settings) -> SharedState:
    url = settings.state.url.reveal()
    return MemoryState() if url.startswith("memory:") else RedisState.connect(url)


def _set_keys(
    keys: tuple[Secret, ...], name: str, digest: Callable[[str], bytes]
) -> list[KnownKey]:
    return [
        KnownKey(
            digest=digest(key.reveal()),
            caller=Caller(key_id=f"{name}-{number}", name=f"{name} {number}"),
        )
        for number, key in enumerate(keys, 1)
    ]


def _known(stored: list[StoredKey], role: KeyRole) -> list[KnownKey]:
    return [
        KnownKey(digest=key.digest, caller=Caller(key_id=key.id, name=key.name))
        for key in stored
        if key.role is role
    ]


async def _watch_changes(application: Application) -> None:
    """Notice keys and accounts that another process changed."""
    while True:
        await asyncio.sleep(_WATCH_EVERY_S)
        try:
            await application.load_changes()
        except GroxyError as error:
            application.log.warning("reload failed", detail=error.detail or error.message)
        await application.close_idle_leavers()


async def _purge(application: Application) -> None:
    """Forget what was kept long enough."""
    while True:
        await asyncio.sleep(_PURGE_EVERY_S)
        try:
            await application.kept.purge(time.time_ns() // 1_000_000)
        except GroxyError as error:
            application.log.warning("purge failed", detail=error.detail or error.message)


async def _renew_deferred(application: Application) -> None:
    """Say of deferred replies under way that they are."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        try:
            await application.deferred.renew()
        except GroxyError as error:
            application.log.warning("renewal failed", detail=error.detail or error.message)


async def _share_state(application: Application) -> None:
    """Tell other processes which accounts rest, and learn it from them."""
    directory, state = application.directory, application.state
    while True:
        try:
            while directory.unshared:
                account_id, rest = directory.unshared[0]
                await (state.warm(account_id) if rest is None else state.cool(account_id, rest))
                directory.unshared.pop(0)
            directory.take_shared(await state.cooling())
        except GroxyError as error:
            application.log.warning("shared state out of reach", detail=error.detail)
        await asyncio.sleep(_WATCH_EVERY_S)


async def _drained(application: Application, grace_s: float) -> None:
    """Wait until no request is open; end those that still are when the grace is over."""
    if application.open_requests:
        await asyncio.wait(application.open_requests, timeout=grace_s)
        application.end_open_requests()
    if application.open_requests:
        await asyncio.wait(application.open_requests, timeout=_SETTLE_S)
