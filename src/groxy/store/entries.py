"""The books: one row a request, one row an attempt, never changed once written.

`EntryWriter` writes groups of rows in one transaction, with as few steps as the database allows,
because replies wait for it.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database, set_sqlite_pragmas
from groxy.store.kept import KeptRow


class AttemptEntry(NamedTuple):
    """One attempt at an upstream. The fields are the columns, in order."""

    request_id: str
    number: int
    at_ms: int
    upstream: str
    account_id: str
    model_sent: str
    model_served: str
    outcome: str
    status: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_ticks: int
    cost_source: str
    """`upstream` (its own bill), `catalog` (computed), or `none` (nothing to bill)."""
    first_event_us: int
    duration_us: int


class RequestEntry(NamedTuple):
    """One request. The fields are the columns, in order."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    is_stream: bool
    model_asked: str
    model_sent: str
    model_served: str
    account_id: str
    outcome: str
    status: int
    attempts: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_ticks: int
    first_event_us: int
    duration_us: int
    reply_id: str
    """The id of the reply as the caller saw it; empty if there was none."""
    app_title: str
    app_url: str
    """What the caller's application says of itself: a name, an address."""
    finish_reason: str
    upstream_dialect: str
    """The dialect in which the account that served was asked."""
    route: str = ""
    """How the route was chosen, as JSON."""


_SEARCHED_REQUESTS = 50_000
"""How far back a request is looked for by the id of its reply, which has no index: its values are
random, and an index of such is what made commits slow (docs/decisions/0003)."""
_MAX_REPLY_ID = 128
MAX_FOUND = 500
"""How many requests one search can return."""
_SEARCHED_LINES = 20_000
"""How many lines one search looks at: a fraction of a second, whatever it looks for."""


_Order = tuple[
    "Group",
    asyncio.AbstractEventLoop,
    "asyncio.Future[None]",
]


class Group(NamedTuple):
    """What goes into one transaction."""

    requests: Sequence[RequestEntry]
    attempts: Sequence[AttemptEntry]
    kept: Sequence[KeptRow] = ()
    """What these requests leave behind; a row takes the place of an older one with its id."""


class EntryWriter(Protocol):
    """Writes entries durably."""

    def submit(self, group: Group) -> "asyncio.Future[None]":
        """Begin to write all rows in one transaction; the future ends when that is done.

        It ends with STORE_DOWN when none was written. Submit the next group only then.
        """
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


def entry_writer(database: Database) -> EntryWriter:
    """Return the fastest writer for a database."""
    return _SqliteWriter(database) if database.is_sqlite_file else _AsyncWriter(database)


async def last_requests(database: Database, limit: int) -> list[RequestEntry]:
    """Return the newest requests, newest first."""
    columns = [tables.requests.c[name] for name in RequestEntry._fields]
    query = sa.select(*columns).order_by(tables.requests.c.id.desc()).limit(limit)
    async with database.transaction() as connection:
        return [RequestEntry(*row) for row in await connection.execute(query)]


async def attempts_of(database: Database, request_id: str) -> list[AttemptEntry]:
    """Return the attempts of one request, in order."""
    columns = [tables.attempts.c[name] for name in AttemptEntry._fields]
    query = (
        sa.select(*columns)
        .where(tables.attempts.c.request_id == request_id)
        .order_by(tables.attempts.c.number)
    )
    async with database.transaction() as connection:
        return [AttemptEntry(*row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """What requests are looked for; what is empty or 0 does not matter."""

    key_id: str = ""
    model: str = ""
    """As asked for, or as served."""
    account_id: str = ""
    """One that was asked in any attempt."""
    outcome: str = ""
    status: int = 0
    since_ms: int = 0
    until_ms: int = 0
    """Up to and without this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to, newest first."""

    requests: list[RequestEntry]
    next: str
    """Where to go on: `before` of the next search. Empty when there is no more."""
    is_complete: bool
    """False when the search stopped, because it had looked at enough lines, before it had as many
    requests as it could return: there may be more from `next` on."""


async def search_requests(
    database: Database, wanted: RequestFilter, *, before: str = "", limit: int = 50
) -> Found:
    """Return the newest requests that fit, of those older than the request `before`.

    At most 500 are returned, and at most 20,000 lines are looked at.
    """
    limit = min(max(limit, 1), MAX_FOUND)
    texts = (before, wanted.key_id, wanted.model, wanted.account_id, wanted.outcome)
    if not all(text.isprintable() for text in texts):  # PostgreSQL takes no NUL
        return Found(requests=[], next="", is_complete=True)
    columns = tables.requests.c
    within = _within(wanted, before)
    walk = sa.select(columns.id).where(*within).order_by(columns.id.desc())
    fields = [columns[name] for name in RequestEntry._fields]
    async with database.transaction() as connection:
        last = await connection.scalar(walk.offset(_SEARCHED_LINES - 1).limit(1))
        reach = [columns.id >= last] if last else []
        query = sa.select(*fields).where(*within, *reach, *_fits(wanted))
        rows = await connection.execute(query.order_by(columns.id.desc()).limit(limit + 1))
        found = [RequestEntry(*row) for row in rows]
    if len(found) > limit:
        return Found(requests=found[:limit], next=found[limit - 1].id, is_complete=True)
    return Found(requests=found, next=last or "", is_complete=last is None)


def _within(wanted: RequestFilter, before: str) -> list[sa.ColumnElement[bool]]:
    """Return the part of the books to look at; ids begin with the time, so it is one stretch."""
    column = tables.requests.c.id
    stretch = [column < before] if before else []
    if wanted.since_ms > 0:
        stretch.append(column >= request_id_at(wanted.since_ms))
    if wanted.until_ms > 0:
        stretch.append(column < request_id_at(wanted.until_ms))
    return stretch


def _fits(wanted: RequestFilter) -> list[sa.ColumnElement[bool]]:
    columns, tried = tables.requests.c, tables.attempts.c
    conditions: list[sa.ColumnElement[bool]] = []
    for column in (columns.key_id, columns.outcome, columns.status):
        value = getattr(wanted, column.name)
        if value:
            conditions.append(column == value)
    if wanted.model:
        is_it = (columns.model_asked == wanted.model, columns.model_served == wanted.model)
        conditions.append(sa.or_(*is_it))
    if wanted.account_id:
        # A request names the account of its last attempt; only others need a look at theirs.
        attempt = sa.select(tried.number).where(
            tried.request_id == columns.id, tried.account_id == wanted.account_id
        )
        was_tried = sa.and_(columns.attempts > 1, attempt.exists())
        conditions.append(sa.or_(columns.account_id == wanted.account_id, was_tried))
    return conditions


async def request_of(
    database: Database, request_id: str
) -> tuple[RequestEntry, list[AttemptEntry]] | None:
    """Return a request of any key with its attempts; None when there is no such request."""
    if not 0 < len(request_id) <= _MAX_REPLY_ID or not request_id.isprintable():
        return None
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    found = await _first(database, sa.select(*fields).where(columns.id == request_id))
    return (found, await attempts_of(database, found.id)) if found else None


def request_id_at(at_ms: int) -> str:
    """Return what the ids of all requests from this moment on are not before (core.ids)."""
    return f"req_{at_ms:011x}"


async def find_request(
    database: Database, owner: str, reply_or_request_id: str
) -> tuple[RequestEntry, list[AttemptEntry]] | None:
    """Return one of a key's requests with its attempts, by its id or by that of its reply.

    By the reply's id only the newest 50,000 requests of all keys are searched.
    """
    wanted = reply_or_request_id
    if not 0 < len(wanted) <= _MAX_REPLY_ID or not wanted.isprintable():
        return None
    found = await _first(database, _by_id(wanted, owner))
    found = found or await _first(database, _by_reply_id(wanted, owner))
    return (found, await attempts_of(database, found.id)) if found else None


def _by_id(wanted: str, owner: str) -> sa.Select[tuple[object, ...]]:
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    return sa.select(*fields).where(columns.id == wanted, columns.key_id == owner)


def _by_reply_id(wanted: str, owner: str) -> sa.Select[tuple[object, ...]]:
    """Return a query that walks back from the newest line and stops at the first that fits."""
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    newest = sa.select(columns.id).order_by(columns.id.desc())
    oldest = newest.offset(_SEARCHED_REQUESTS - 1).limit(1).scalar_subquery()
    return (
        sa.select(*fields)
        .where(columns.reply_id == wanted, columns.key_id == owner)
        .where(columns.id >= sa.func.coalesce(oldest, ""))
        .order_by(columns.id.desc())
        .limit(1)
    )


async def _first(database: Database, query: sa.Select[tuple[object, ...]]) -> RequestEntry | None:
    async with database.transaction() as connection:
        row = (await connection.execute(query)).first()
    return RequestEntry._make(row) if row else None


def _insert_sql(table: sa.Table, fields: Sequence[str], dialect: sa.Dialect) -> str:
    """Return an INSERT with plain positional parameters in the order of `fields`."""
    compiled = sa.insert(table).inline().compile(dialect=dialect, column_keys=list(fields))
    order = compiled.positiontup
    if order is None or list(order) != list(fields):
        raise TypeError(f"columns of {table.name} are not in the order of its entry")
    return str(compiled)


def _upsert_sql(table: sa.Table, fields: Sequence[str], dialect: sa.Dialect) -> str:
    """Return an INSERT that replaces a row with the same id; SQLite and PostgreSQL say it alike."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in fields if name != "id")
    return f"{_insert_sql(table, fields, dialect)} ON CONFLICT (id) DO UPDATE SET {changes}"


_WRITE_ERRORS = (sqlite3.Error, OSError, OverflowError, UnicodeError)
"""The last two: a number or a text that SQLite cannot hold. The thread has to outlive them all."""


class _SqliteWriter:
    """Writes from a thread of its own over one connection of the driver itself.

    A lone reply waits for one hop there and back and one synced commit, and nothing else.
    """

    def __init__(self, database: Database) -> None:
        self._path = str(database.engine.url.database)
        dialect = database.engine.dialect
        self._requests_sql = _insert_sql(tables.requests, RequestEntry._fields, dialect)
        self._attempts_sql = _insert_sql(tables.attempts, AttemptEntry._fields, dialect)
        self._kept_sql = _upsert_sql(tables.kept, KeptRow._fields, dialect)
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._work, name="groxy-books", daemon=True)
        self._thread.start()

    def submit(self, group: Group) -> "asyncio.Future[None]":
        """Begin to write all rows in one transaction."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._orders.put((group, loop, written))
        return written

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            group, loop, written = order
            error = self._error_of(group)
            loop.call_soon_threadsafe(_settle, written, error)
        self._disconnect()

    def _error_of(self, group: Group) -> GroxyError | None:
        try:
            connection = self._connection or self._connect()
            with connection:
                connection.executemany(self._requests_sql, group.requests)
                connection.executemany(self._attempts_sql, group.attempts)
                if group.kept:
                    connection.executemany(self._kept_sql, group.kept)
        except _WRITE_ERRORS as error:
            self._disconnect()
            return _not_written(error)
        return None

    def _connect(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(self._path)
        set_sqlite_pragmas(self._connection, None)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _settle(written: asyncio.Future[None], error: GroxyError | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)


class _AsyncWriter:
    """Writes through the database's own pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect
        self._requests_sql = _insert_sql(tables.requests, RequestEntry._fields, dialect)
        self._attempts_sql = _insert_sql(tables.attempts, AttemptEntry._fields, dialect)
        self._kept_sql = _upsert_sql(tables.kept, KeptRow._fields, dialect)

    def submit(self, group: Group) -> "asyncio.Future[None]":
        """Begin to write all rows in one transaction."""
        # The journal holds the future and waits for it before it closes, so no task is lost.
        return asyncio.get_running_loop().create_task(self._write(group))

    async def _write(self, group: Group) -> None:
        try:
            async with self._database.bounded() as connection:
                if group.requests:
                    await connection.exec_driver_sql(self._requests_sql, list(group.requests))
                if group.attempts:
                    await connection.exec_driver_sql(self._attempts_sql, list(group.attempts))
                if group.kept:
                    await connection.exec_driver_sql(self._kept_sql, list(group.kept))
        except (SQLAlchemyError, OSError) as error:
            raise _not_written(error) from error

    async def close(self) -> None:
        """Nothing is held: the pool belongs to the database."""


def _not_written(error: Exception) -> GroxyError:
    return GroxyError(
        ErrorKind.STORE_DOWN,
        "The reply could not be entered in the books, so it is withheld. Try again.",
        detail=f"{type(error).__name__}: {error}",
        retry_after_s=1,
    )
