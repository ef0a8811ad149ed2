"""One database: opening it, bringing it up to date, and noticing that others changed it.

In: an SQLAlchemy URL (SQLite or PostgreSQL). Out: an engine that the other files here query.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables

SCHEMA_VERSION = "0002"
"""The newest migration; a test keeps it in step with `migrations/versions`."""
_SQLITE_BUSY_MS = 10_000
_IN_MEMORY = (None, "", ":memory:")
_LOCK_SQLITE = "BEGIN IMMEDIATE"
"""The driver itself begins no transaction before DDL, so a migration could stay half done."""
_LOCK_POSTGRES = "SELECT pg_advisory_xact_lock(7176)"
"""The number is arbitrary, and Groxy's alone."""

_BUMP = sa.text(
    "INSERT INTO revisions (name, value) VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET value = revisions.value + 1"
)


class Database:
    """An open database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, url: str, data_dir: Path) -> Self:
        """Open the database at `url`, creating and migrating it as needed.

        A relative SQLite path is taken from `data_dir`. Raises STORE_DOWN when it cannot be opened
        or was written by a newer Groxy.
        """
        # What a failed statement carried is no business of the log.
        engine = create_async_engine(
            resolved(url, data_dir), pool_pre_ping=True, hide_parameters=True
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
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Run statements in one transaction; raise STORE_DOWN when the database fails."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise _down(error) from error

    async def revision(self, name: str) -> int:
        """Return how often the table `name` was changed; every process may ask often."""
        query = sa.select(tables.revisions.c.value).where(tables.revisions.c.name == name)
        async with self.transaction() as connection:
            return (await connection.scalar(query)) or 0

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def _migrate(self) -> None:
        async with self.engine.begin() as connection:
            if await connection.run_sync(_is_current):
                return
            # Others may be starting too: one migrates, as a whole or not at all; the rest wait.
            await connection.exec_driver_sql(_LOCK_SQLITE if self.is_sqlite else _LOCK_POSTGRES)
            if not await connection.run_sync(_is_current):
                await connection.run_sync(_upgrade)


def resolved(url: str, data_dir: Path) -> URL:
    """Return `url` with a relative SQLite path taken from the data folder."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in _IN_MEMORY:
        return parsed
    return parsed.set(database=str(data_dir / str(parsed.database)))


async def bump(connection: AsyncConnection, name: str) -> None:
    """Count a change of table `name`, inside the transaction that makes it."""
    await connection.execute(_BUMP, {"name": name})


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
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


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
