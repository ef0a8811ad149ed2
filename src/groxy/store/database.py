"""One database: opening it, bringing it up to date, and noticing that others changed it.

In: an SQLAlchemy URL (SQLite or PostgreSQL). Out: an engine that the other files here query.
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.patience import patient_connection

SCHEMA_VERSION = "0006"
"""The newest migration; a test keeps it in step with `migrations/versions`."""
TIMEOUT_S = 10.0
"""How long a transaction may take, with the wait for a connection."""
BULK_TIMEOUT_S = 60.0
"""How long one may take that changes thousands of rows."""
CHUNK_ROWS = 500
"""Rows and bound parameters of one statement: SQLite has a limit, and the loop has other work."""
_UNDO_S = 1.0
"""How long undoing may take before the connection is given up."""
_SQLITE_BUSY_MS = 10_000
_IN_MEMORY = (None, "", ":memory:")
_LOCK_SQLITE = "BEGIN IMMEDIATE"
"""The driver itself begins no transaction before DDL, so a migration could stay half done."""
_LOCK_POSTGRES = "SELECT pg_advisory_xact_lock(7176)"
"""The number is arbitrary, and Groxy's alone."""

_BUMP = sa.text(
    "INSERT INTO revisions (name, value) VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET value = revisions.value + 1 RETURNING value"
)
_LOCK = sa.text(
    "INSERT INTO revisions (name, value) VALUES (:name, 0) "
    "ON CONFLICT (name) DO UPDATE SET value = revisions.value"
)

_RAISE = sa.text(
    "INSERT INTO revisions (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET "
    "value = CASE WHEN excluded.value > revisions.value THEN excluded.value "
    "ELSE revisions.value END"
)

T = TypeVar("T")


class Database:
    """An open database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._left: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, url: str, data_dir: Path) -> Self:
        """Open the database at `url`, creating and migrating it as needed.

        A relative SQLite path is taken from `data_dir`. Raises STORE_DOWN when it cannot be opened
        or was written by a newer Groxy.
        """
        parsed = resolved(url, data_dir)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        engine = create_async_engine(
            parsed,
            pool_pre_ping=True,
            # What a failed statement carried is no business of the log.
            hide_parameters=True,
            connect_args={"async_creator_fn": patient_connection} if is_sqlite else {},
        )
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", set_sqlite_pragmas)
        database = cls(engine)
        try:
            await database._migrate()
        except BaseException as error:
            await engine.dispose()
            if isinstance(error, SQLAlchemyError | OSError):
                raise _not_opened(error) from error
            raise
        return database

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, which has one writer."""
        return self.engine.dialect.name == "sqlite"

    @property
    def is_sqlite_file(self) -> bool:
        """True for SQLite in a file, which other connections can open too."""
        return self.is_sqlite and self.engine.url.database not in _IN_MEMORY

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float = TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """Run statements in one transaction; raise STORE_DOWN when the database fails.

        A database that does not answer within `timeout_s` has failed. A commit that was not
        answered in time may have been done or not.
        """
        try:
            async with self.bounded(timeout_s) as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise _down(error) from error

    @asynccontextmanager
    async def bounded(self, timeout_s: float = TIMEOUT_S) -> AsyncIterator[AsyncConnection]:
        """Run statements as `transaction` does, but raise errors as they are: SQLAlchemy's, or
        `OSError` (`TimeoutError` after `timeout_s`).
        """
        scope = self.engine.begin()
        async with asyncio.timeout(timeout_s):
            connection = await scope.__aenter__()
            driver = None
            try:
                driver = await _driver_of(connection)
                yield connection
            except BaseException as error:
                undoing = scope.__aexit__(type(error), error, error.__traceback__)
                with suppress(SQLAlchemyError, OSError):  # the error that counts is on its way
                    async with asyncio.timeout(_UNDO_S):
                        await self._leave(driver, undoing)
                raise
            # Nothing is awaited in between: who is cancelled there would leave it open, and locked.
            await self._leave(driver, scope.__aexit__(None, None, None))

    async def revision(self, name: str) -> int:
        """Return how often the table `name` was changed; every process may ask often."""
        async with self.transaction() as connection:
            return await revision_of(connection, name)

    async def revisions(self) -> dict[str, int]:
        """Return how often each table was changed; what never changed is missing."""
        async with self.transaction() as connection:
            rows = await connection.execute(sa.select(tables.revisions))
            return {row.name: row.value for row in rows}

    async def close(self) -> None:
        """Close every connection."""
        if self._left:
            await asyncio.wait(self._left, timeout=_UNDO_S)
        await self.engine.dispose()

    async def _leave(self, driver: Any, ending: Coroutine[Any, Any, Any]) -> None:  # noqa: ANN401  asyncpg has no types
        """Commit or roll back; whoever is cancelled meanwhile does not wait for it.

        The driver would wait for an answer for as long as the network lets it, even when it is
        cancelled. So its connection is cut then, and the pool has a place again.
        """
        task = asyncio.get_running_loop().create_task(ending)
        self._left.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            if driver is not None:
                driver.terminate()
            raise
        await task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; what was left to itself has no reader

    async def _migrate(self) -> None:
        async with self.engine.begin() as connection:
            if await connection.run_sync(_is_current):
                return
            # Others may be starting too: one migrates, as a whole or not at all; the rest wait.
            await connection.exec_driver_sql(_LOCK_SQLITE if self.is_sqlite else _LOCK_POSTGRES)
            if not await connection.run_sync(_is_current):
                await connection.run_sync(_upgrade)


async def _driver_of(connection: AsyncConnection) -> Any:  # noqa: ANN401  asyncpg has no types
    """Return PostgreSQL's connection, if it is open; SQLite's cannot be cut, and ends by itself."""
    if connection.dialect.name == "sqlite" or connection.invalidated:
        return None
    return (await connection.get_raw_connection()).driver_connection


def resolved(url: str, data_dir: Path) -> URL:
    """Return `url` with a relative SQLite path taken from the data folder."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in _IN_MEMORY:
        return parsed
    return parsed.set(database=str(data_dir / str(parsed.database)))


async def bump(connection: AsyncConnection, name: str) -> int:
    """Count a change of table `name`, inside the transaction that makes it; return the count.

    Others who count wait until this transaction ends, so counts become visible in their order.
    """
    value: int = (await connection.execute(_BUMP, {"name": name})).scalar_one()
    return value


async def lock(connection: AsyncConnection, name: str) -> None:
    """Wait until nobody else changes table `name`, and keep others waiting from now on.

    It has to be the first statement: SQLite does not let one write who has read something older.
    """
    await connection.execute(_LOCK, {"name": name})


async def revision_of(connection: AsyncConnection, name: str) -> int:
    """Return the count of table `name` as this transaction sees it."""
    query = sa.select(tables.revisions.c.value).where(tables.revisions.c.name == name)
    return (await connection.scalar(query)) or 0


async def raise_revision(connection: AsyncConnection, name: str, value: int) -> None:
    """Set the count of `name` to `value`, unless it is higher already."""
    await connection.execute(_RAISE, {"name": name, "value": value})


def chunks(items: Sequence[T], size: int = CHUNK_ROWS) -> Iterator[Sequence[T]]:
    """Return `items` in parts of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def settled(value: object, before: object) -> object:
    """Return a value that may be given as a function from the one that is there."""
    return value(before) if callable(value) else value


def storable(text: str, length: int) -> str:
    """Return `text` as both databases can hold it: no NUL, no half characters, not too long."""
    whole = text.replace("\0", "").encode(errors="replace").decode()
    return whole[:length]


def set_sqlite_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection
    """Make SQLite durable and concurrent: write-ahead log, synced on every commit."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MS}")
    cursor.execute("PRAGMA synchronous=FULL")
    # The file keeps its mode. SQLite waits for nobody here, so two who start at once collide: then
    # the other one switches it.
    with suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _is_current(connection: sa.Connection) -> bool:
    """Return whether the schema is ours; raise STORE_DOWN when it is newer."""
    version = _schema_version(connection)
    if version is not None and version > SCHEMA_VERSION:
        message = (
            f"The database is at schema {version}, written by a newer Groxy than this one "
            f"(schema {SCHEMA_VERSION}). Upgrade Groxy, or restore the backup of before."
        )
        raise GroxyError(ErrorKind.STORE_DOWN, message)
    return version == SCHEMA_VERSION


def _schema_version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _upgrade(connection: sa.Connection) -> None:
    # Alembic takes a tenth of a second to import; most starts have nothing to migrate.
    with _missing("mako.ext.pygmentplugin"):
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _missing(module: str) -> Iterator[None]:
    """Let a module be missing for whoever can do without it.

    Mako, which comes with Alembic, colours its error pages where it can. Nobody sees any here, and
    the lexers of five languages would stay in memory: 4 MB.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how Python is told so
    try:
        yield
    finally:
        del sys.modules[module]


def _not_opened(error: Exception) -> GroxyError:
    """Return an error for the operator, who alone sees it: no caller is served yet."""
    reason = getattr(error, "orig", None) or error
    message = f"The database cannot be opened: {reason}. Check `store.url` and the data folder."
    return GroxyError(ErrorKind.STORE_DOWN, message, detail=f"{type(error).__name__}: {error}")


def _down(error: Exception) -> GroxyError:
    message = "The database is not available right now. Try again."
    return GroxyError(
        ErrorKind.STORE_DOWN, message, detail=f"{type(error).__name__}: {error}", retry_after_s=1
    )
