"""The admin API at a desk of its own, asked in this process as the server would ask it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from groxy.admin.application import admin_app
from groxy.admin.desk import Desk
from groxy.admin.pages import docs_app
from groxy.api.errors import ErrorBoundary
from groxy.ledger.prices import PriceBook
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.overseer import Overseer
from groxy.routing.refresh import Refresher, Schedule
from groxy.routing.router import Router
from groxy.state.memory import MemoryState
from groxy.store.audit import AuditLine, list_audit
from groxy.store.database import Database
from groxy.store.media import Kind
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import Written
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send
from tests.routing.fleet import CATALOG

ADMIN_KEY = "adm-key-of-the-operator"
CALLER_KEY = "sk-key-of-a-caller"
SECRET = InstallationSecret(b"s" * 32)
STARTED_AT = 1_000.0


@dataclass
class Answer:
    """A response as it was sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


async def ask(
    app: Any,
    method: str,
    path: str,
    *,
    body: bytes | object = b"",
    key: str | None = ADMIN_KEY,
    headers: Sequence[tuple[str, str]] = (),
    query: str = "",
) -> Answer:
    """Send one request and return the whole response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [("host", "testserver"), *headers]
    if "content-length" not in dict(headers):
        sent.append(("content-length", str(len(content))))
    if key is not None:
        sent.append(("authorization", f"Bearer {key}"))
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent],
    }
    answer = Answer()
    bodies = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()  # this client never leaves
        return bodies.pop()

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


@dataclass
class Settings:
    """Stands in for the settings: nested values, of which a few may be changed."""

    values: dict[str, Any] = field(default_factory=lambda: {"routing": {"strategy": "quota"}})
    error: Exception | None = None
    patches: list[Mapping[str, object]] = field(default_factory=list)

    def shown(self) -> dict[str, object]:
        return self.values

    def described(self) -> list[dict[str, object]]:
        return [
            {
                "name": "routing.strategy",
                "type": "quota | random",
                "default": "quota",
                "help": "How an account is chosen.",
                "secret": False,
                "start_only": False,
            }
        ]

    async def patch(
        self, patch: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, object]]:
        self.patches.append(patch)
        if self.error is not None:
            raise self.error
        before: dict[str, object] = {}
        after: dict[str, object] = {}
        for section, values in patch.items():
            assert isinstance(values, dict)
            for name, value in values.items():
                own = self.values.setdefault(section, {})
                before[f"{section}.{name}"] = own.get(name)
                after[f"{section}.{name}"] = own[name] = value
        return before, after


@dataclass
class Window:
    """Where an operator asks."""

    desk: Desk
    app: AsgiApp
    config: Settings
    reloads: list[int]

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        return await ask(self.app, method, "/admin/api" + path, **more)

    async def get(self, path: str, query: str = "", **more: Any) -> Answer:
        return await self.ask("GET", path, query=query, **more)

    async def post(self, path: str, body: object = b"", **more: Any) -> Answer:
        return await self.ask("POST", path, body=body, **more)

    async def audit(self) -> list[AuditLine]:
        return await list_audit(self.desk.database)


class Standings:
    """A store of standings that forgets everything."""

    async def write(self, changes: object) -> Written:
        del changes
        return Written(1)

    async def add_tallies(self, tallies: object) -> None:
        del tallies


def keyring(key: str, key_id: str) -> Keyring:
    """Return a ring with one key."""
    ring = Keyring(SECRET.digest)
    ring.replace([KnownKey(digest=SECRET.digest(key), caller=Caller(key_id=key_id, name=key_id))])
    return ring


def empty_shelf(folder: Path, database: Database) -> Shelf:
    """Return a shelf in memory without bounds."""
    no_bound: dict[Kind, int] = {"image": 0, "video": 0, "file": 0}
    large: dict[Kind, int] = dict.fromkeys(no_bound, 1 << 20)
    limits = ShelfLimits(max_total_bytes=no_bound, max_bytes=large)
    return Shelf("memory://", folder, database, limits)


@asynccontextmanager
async def opened(folder: Path, *accounts: Account, **changes: Any) -> AsyncIterator[Window]:
    """Open a window; `changes` are parts of the desk."""
    database = await Database.open("sqlite+aiosqlite:///groxy.db", folder)
    directory = Directory()
    directory.replace(accounts)
    config, reloads = Settings(), list[int]()
    store = Standings()
    overseer = Overseer(directory, store)

    async def reload() -> None:
        reloads.append(1)

    desk = Desk(
        operators=keyring(ADMIN_KEY, "settings-admin"),
        callers=keyring(CALLER_KEY, "key_of_a_caller"),
        directory=directory,
        router=Router(CATALOG, directory, max_candidates=3),
        overseer=overseer,
        refresher=Refresher(directory, overseer, store, Schedule()),
        database=database,
        secret=SECRET,
        state=MemoryState(),
        shelf=empty_shelf(folder, database),
        prices=PriceBook(lambda name: (None, None)),
        state_kind="memory",
        config=config,
        checked=lambda draft: draft,
        reload=reload,
        revision=lambda: 7,
        takes_key_in_query=lambda: True,
        shows_docs=lambda: True,
    )
    desk = replace(desk, **changes)
    try:
        yield Window(desk, ErrorBoundary(_served(desk)), config, reloads)
    finally:
        await database.close()


def _served(desk: Desk) -> AsgiApp:
    admin = admin_app(desk, spawn=lambda work: work.close(), started_at=STARTED_AT)
    docs = docs_app(desk)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        part = admin if scope["path"].startswith("/admin/api") else docs
        await part(scope, receive, send)

    return app
