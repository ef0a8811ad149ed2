"""The books: one row a request, one row an attempt, never changed once written.

`EntryWriter` writes groups of rows in one transaction, with as few steps as the database allows,
because replies wait for it.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database, set_sqlite_pragmas


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


class EntryWriter(Protocol):
    """Writes entries durably."""

    async def write(
        self, requests: Sequence[RequestEntry], attempts: Sequence[AttemptEntry]
    ) -> None:
        """Write all rows in one transaction, or raise STORE_DOWN and write none."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


def entry_writer(database: Database) -> EntryWriter:
    """Return the fastest writer for a database."""
    return _SqliteWriter(database) if database.is_sqlite else _AsyncWriter(database)


async def last_requests(database: Database, limit: int) -> list[RequestEntry]:
    """Return the newest requests, newest first."""
    columns = [tables.requests.c[name] for name in RequestEntry._fields]
    query = sa.select(*columns).order_by(tables.requests.c.seq.desc()).limit(limit)
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


def _insert_sql(table: sa.Table, fields: Sequence[str], dialect: sa.Dialect) -> str:
    """Return an INSERT with plain positional parameters in the order of `fields`."""
    compiled = sa.insert(table).inline().compile(dialect=dialect, column_keys=list(fields))
    order = compiled.positiontup
    if order is None or list(order) != list(fields):
        raise TypeError(f"columns of {table.name} are not in the order of its entry")
    return str(compiled)


class _SqliteWriter:
    """Writes from one thread over one connection: a single hop for the whole transaction."""

    def __init__(self, database: Database) -> None:
        url = database.engine.url.set(drivername="sqlite")
        self._engine = sa.create_engine(
            url, poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
        )
        event.listen(self._engine, "connect", set_sqlite_pragmas)
        self._requests_sql = _insert_sql(
            tables.requests, RequestEntry._fields, self._engine.dialect
        )
        self._attempts_sql = _insert_sql(
            tables.attempts, AttemptEntry._fields, self._engine.dialect
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="groxy-books")
        self._connection: Any = None

    async def write(
        self, requests: Sequence[RequestEntry], attempts: Sequence[AttemptEntry]
    ) -> None:
        """Write all rows in one transaction, or raise STORE_DOWN and write none."""
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self._write, requests, attempts
        )

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()

    def _write(self, requests: Sequence[RequestEntry], attempts: Sequence[AttemptEntry]) -> None:
        try:
            with self._engine.begin() as connection:
                if requests:
                    connection.exec_driver_sql(self._requests_sql, list(requests))
                if attempts:
                    connection.exec_driver_sql(self._attempts_sql, list(attempts))
        except (SQLAlchemyError, OSError) as error:
            raise _not_written(error) from error


class _AsyncWriter:
    """Writes through the database's own pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect
        self._requests_sql = _insert_sql(tables.requests, RequestEntry._fields, dialect)
        self._attempts_sql = _insert_sql(tables.attempts, AttemptEntry._fields, dialect)

    async def write(
        self, requests: Sequence[RequestEntry], attempts: Sequence[AttemptEntry]
    ) -> None:
        """Write all rows in one transaction, or raise STORE_DOWN and write none."""
        try:
            async with self._database.engine.begin() as connection:
                if requests:
                    await connection.exec_driver_sql(self._requests_sql, list(requests))
                if attempts:
                    await connection.exec_driver_sql(self._attempts_sql, list(attempts))
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
