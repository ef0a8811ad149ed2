"""A desk with a real directory, overseer, refresher and database, over scripted upstreams."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from groxy.admin.application import admin_app
from groxy.admin.desk import Desk
from groxy.api.errors import ErrorBoundary
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import NO_TERMS, Terms, fault_of
from groxy.ledger.prices import PriceBook
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.overseer import Overseer, take_standing
from groxy.routing.pools import Pool
from groxy.routing.refresh import Refresher, Schedule
from groxy.routing.router import Router
from groxy.state.memory import MemoryState
from groxy.store.account_rows import hint_of
from groxy.store.accounts import AccountDraft, accounts_since, add_accounts
from groxy.store.audit import AuditLine, list_audit
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import (
    StandingChange,
    Tally,
    Written,
    add_tallies,
    standings_since,
    write_standings,
)
from groxy.upstreams import discover
from groxy.upstreams._base import Credentials
from groxy.upstreams._credentials import check_credentials, known_upstream
from groxy.wire.http import Outgoing
from tests.admin.window import empty_shelf
from tests.inprocess import Answer, ask

ADMIN_KEY = "adm-of-the-office"
KEY = "sk-of-a-caller-0123456789"
PREFIX = "/admin/api"
URL = "sqlite+aiosqlite:///groxy.db"
CATALOG = Catalog.load({})
UPSTREAMS = discover()
GOOD_KEY = b'{"acls": ["api-key:model:*"], "api_key_blocked": false}'
MODELS = b'{"data": [{"id": "grok-4.3"}, {"id": "grok-4.3-fast"}]}'
NO_FILES = b'{"data": [], "pagination_token": null}'
REJECTED = (401, b'{"code": "unauthenticated", "error": "bad credentials"}')


@dataclass
class Reply:
    """A reply that is there at once."""

    status: int
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        return {"content-type": "application/json"}

    async def read(self, limit: int) -> bytes:
        return self.body

    async def chunks(self) -> AsyncGenerator[bytes]:
        yield self.body

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class World:
    """All upstreams: what they answer, and what they were asked.

    `script` has (status, body) by key, method and path, or by method and path alone; a path is that
    below the address, without a query. A number in place of an answer lets the asker wait for so
    many seconds first.
    """

    script: dict[tuple[str, ...], tuple[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    waits: dict[str, asyncio.Event] = field(default_factory=dict)
    """Keys that get no answer before their event."""
    open: int = 0
    most_open: int = 0

    async def answer(self, key: str, method: str, path: str) -> Reply:
        self.asked.append((key, method, path))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if key in self.waits:
                await self.waits[key].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.open -= 1
        usual = {"/api-key": GOOD_KEY, "/files": NO_FILES}.get(path, MODELS)
        found = self.script.get((key, method, path)) or self.script.get((method, path))
        return Reply(*(found or (200, usual)))


@dataclass
class ScriptedTransport:
    """The way of one account into the world."""

    world: World
    key: str
    is_closed: bool = False

    async def send(self, outgoing: Outgoing) -> Reply:
        path = urlsplit(outgoing.url).path
        base, _, rest = path.partition("/v1")
        return await self.world.answer(self.key, outgoing.method, rest or base)

    async def close(self) -> None:
        self.is_closed = True


class Standings:
    """`StandingStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, changes: Sequence[StandingChange]) -> Written:
        return await write_standings(self._database, changes)

    async def add_tallies(self, tallies: Sequence[Tally]) -> None:
        await add_tallies(self._database, tallies)


class Config:
    """Settings that are only remembered."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def shown(self) -> dict[str, object]:
        return {"app": {"app_key": "*****"}, **self.values}

    def described(self) -> list[dict[str, object]]:
        return [{"name": "logging.level", "type": "text", "default": "info"}]

    async def patch(
        self, patch: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, object]]:
        before = {name: self.values.get(name) for name in patch}
        self.values.update(patch)
        return before, dict(patch)


def checked(draft: AccountDraft) -> AccountDraft:
    """Return a draft that may be stored; as the application does it."""
    upstream = known_upstream(draft.upstream, UPSTREAMS)
    credentials = Credentials(api_key=draft.api_key, base_url=draft.base_url, options=draft.options)
    check_credentials(draft.name or "new", upstream, credentials)
    fault = fault_of(draft.terms)
    if fault is not None:
        raise GroxyError(ErrorKind.BAD_REQUEST, f"`{fault[0]}` {fault[1]}.", param=fault[0])
    return draft


@dataclass
class Office:
    """A desk, and what a test does with it."""

    desk: Desk
    world: World
    app: Any
    config: Config
    loaded: dict[str, int]
    tasks: set[asyncio.Task[None]]
    allows: dict[str, bool]
    """What the operator switched on: `query` and `docs`."""

    # --------------------------------------------------------------------------------- asking

    async def ask(
        self, method: str, path: str, body: object = b"", *, query: str = "", **more: Any
    ) -> Answer:
        """Ask the admin API; `path` is below /admin/api."""
        given: dict[str, Any] = {"key": ADMIN_KEY, **more}
        return await ask(self.app, method, PREFIX + path, body=body, query=query, **given)

    async def get(self, path: str, query: str = "", **more: Any) -> Answer:
        return await self.ask("GET", path, query=query, **more)

    async def post(self, path: str, body: object = b"", query: str = "", **more: Any) -> Answer:
        return await self.ask("POST", path, body, query=query, **more)

    async def audited(self, action: str = "") -> list[AuditLine]:
        """Return what the audit has, newest first."""
        return await list_audit(self.desk.database, action=action, limit=100)

    async def settle(self) -> None:
        """Wait for everything that was spawned."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    # ------------------------------------------------------------------------------- accounts

    def account(self, name: str) -> Account:
        """Return an account by its name."""
        found = {one.name: one for one in self.desk.directory.accounts}
        return found[name]

    @property
    def names(self) -> list[str]:
        return sorted(one.name for one in self.desk.directory.accounts)

    async def add(self, *names: str, **draft: Any) -> list[Account]:
        """Add accounts to the store; the key of each has its name in it."""
        given: dict[str, Any] = {"upstream": "xai", **draft}
        drafts = [
            AccountDraft(**{"name": name, "api_key": key_of(name), **given}) for name in names
        ]
        added = await add_accounts(self.desk.database, self.desk.secret, drafts)
        await self.desk.reload()
        return [self.account(one.name) for one in added.accounts]

    def declare(self, name: str, origin: str = "settings", **draft: Any) -> Account:
        """Let settings declare an account."""
        given: dict[str, Any] = {"upstream": "xai", "api_key": key_of(name), **draft}
        account = _account(AccountDraft(name=name, **given), name, origin, self.world)
        self.desk.directory.change([account], [])
        return account


def key_of(name: str) -> str:
    """Return the key of the account of that name."""
    return f"xai-key-of-{name}-0123456789abcdef"


def _account(draft: Any, account_id: str, origin: str, world: World) -> Account:
    """Return an account of a draft, or of a stored one."""
    upstream = UPSTREAMS[draft.upstream]
    credentials = Credentials(api_key=draft.api_key, base_url=draft.base_url, options=draft.options)
    terms: Terms = draft.terms or NO_TERMS
    return Account(
        id=account_id,
        name=draft.name,
        upstream=upstream,
        pool=Pool(draft.pool),
        credentials=credentials,
        transport=ScriptedTransport(world, draft.api_key),
        origin=origin,
        headers=upstream.headers(credentials),
        terms=terms,
        proxy_url=draft.proxy_url,
        hint=hint_of(draft.api_key),
        most_in_flight=terms.max_in_flight,
    )


@asynccontextmanager
async def open_office(folder: Path, state: Any = None, now: Any = None) -> AsyncIterator[Office]:
    """Open a desk whose database is in `folder`."""
    database = await _empty_database(folder)
    secret = InstallationSecret(b"s" * 32)
    directory = Directory(now) if now is not None else Directory()
    standings = Standings(database)
    overseer = Overseer(directory, standings)
    refresher = Refresher(directory, overseer, standings, Schedule(every_s=0.0))
    world, config = World(), Config()
    loaded = {"accounts": 0, "standings": 0}

    async def reload() -> None:
        news = await accounts_since(database, secret, loaded["accounts"])
        loaded["standings"], standing = await standings_since(
            database, 0 if news.accounts else loaded["standings"]
        )
        loaded["accounts"] = news.revision
        fresh = {one.id: _account(one, one.id, "store", world) for one in news.accounts}
        for one in standing:
            if one.account_id in fresh:
                take_standing(fresh[one.account_id], one, None)
        stored = {one.id for one in directory.accounts if one.origin == "store"}
        gone = stored - fresh.keys() if news.is_whole else news.gone
        directory.change(fresh.values(), gone)
        overseer.take(standing)

    def ring(**keys: str) -> Keyring:
        keyring = Keyring(secret.digest)
        keyring.replace(
            KnownKey(digest=secret.digest(key), caller=Caller(key_id=name, name=name))
            for name, key in keys.items()
        )
        return keyring

    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    allows = {"query": True, "docs": True}
    desk = Desk(
        operators=ring(operator=ADMIN_KEY),
        callers=ring(caller=KEY),
        directory=directory,
        router=Router(CATALOG, directory, max_candidates=3),
        overseer=overseer,
        refresher=refresher,
        database=database,
        secret=secret,
        state=state if state is not None else MemoryState(),
        shelf=empty_shelf(folder, database),
        prices=PriceBook(lambda name: (None, None)),
        state_kind="memory",
        config=config,
        checked=checked,
        reload=reload,
        revision=lambda: loaded["accounts"],
        takes_key_in_query=lambda: allows["query"],
        shows_docs=lambda: allows["docs"],
    )
    app = ErrorBoundary(admin_app(desk, spawn=spawn))
    try:
        yield Office(desk, world, app, config, loaded, tasks, allows)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


_migrated: dict[str, bytes] = {}


async def _empty_database(folder: Path) -> Database:
    """Open an empty database; the first one is migrated, the others are copies of it."""
    path = folder / "groxy.db"
    if "file" not in _migrated and not path.exists():
        await (await Database.open(URL, folder)).close()
        _migrated["file"] = path.read_bytes()
    elif not path.exists():
        path.write_bytes(_migrated["file"])
    return await Database.open(URL, folder)


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, as JSON."""
    blocks = body.decode().split("\n\n")
    return [json.loads(block.removeprefix("data: ")) for block in blocks if block[:6] == "data: "]
