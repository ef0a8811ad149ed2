"""Writing into the books what may be there already.

In: groups of entries whose first writing failed, or ended nobody knows how. Out: nothing, once each
of them is in the books exactly once. Must not change lines that are there.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database
from groxy.store.ledger import Balances
from groxy.store.writers import EntryWriter, entry_writer
from groxy.store.writing import Group, Statements, write

_MAX_IDS = 500
"""Ids in one question; SQLite takes some thousands, PostgreSQL 32,767 (both documented limits)."""
_IMPOSSIBLE_VALUES = (ValueError, OverflowError, TypeError)
"""What a driver raises for a value that no column can hold; UnicodeError is a ValueError."""
_SQLSTATES_OF_VALUES = ("22", "23")
"""PostgreSQL's classes of errors that a value causes: data exception, constraint violation."""


class UnwritableError(Exception):
    """The database is there and will never take these lines: a value is beyond what it can hold."""


class ReplayingWriter(EntryWriter, Protocol):
    """A writer that can also write again."""

    async def replay(self, groups: Sequence[Group]) -> None:
        """Write those of the groups that are not in the books yet, in order, in one transaction.

        Raises STORE_DOWN when the database cannot be asked, and `UnwritableError` when it refuses
        what is in the groups; none is written then. With no groups it asks whether the database
        is there.
        """
        ...


def replaying_writer(database: Database) -> ReplayingWriter:
    """Return the fastest writer for a database, which can write again too."""
    return _Writer(database)


class _Writer:
    """Writes through the fastest writer, and writes again through the database's own pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = entry_writer(database)
        self._statements = Statements.for_database(database)

    def submit(self, group: Group) -> "asyncio.Future[Balances]":
        """Begin to write all rows in one transaction."""
        return self._writer.submit(group)

    async def close(self) -> None:
        """Release what is held."""
        await self._writer.close()

    async def replay(self, groups: Sequence[Group]) -> None:
        """Write those of the groups that are not in the books yet."""
        try:
            async with self._database.bounded(BULK_TIMEOUT_S) as connection:
                await self._replay(connection, groups)
        except (SQLAlchemyError, OSError, *_IMPOSSIBLE_VALUES) as error:
            detail = f"{type(error).__name__}: {error}"
            if _is_about_values(error):
                raise UnwritableError(detail) from error
            message = "The database is not available right now. Try again."
            raise GroxyError(
                ErrorKind.STORE_DOWN, message, detail=detail, retry_after_s=1
            ) from error

    async def _replay(self, connection: AsyncConnection, groups: Sequence[Group]) -> None:
        ids = [request.id for group in groups for request in group.requests]
        known = await _known(connection, ids)
        # A group was written whole or not at all, so if its requests are there, then what they left
        # behind was there too. It may have been deleted since, and must not come back.
        missing = [group for group in groups if not _is_known(group, known)]
        if missing:
            # All at once: spooled groups are small, and more come while these are entered.
            await write(connection, self._statements, _joined(missing, known))
        if not ids:
            await connection.execute(sa.select(sa.literal(1)))


async def _known(connection: AsyncConnection, ids: Sequence[str]) -> set[str]:
    """Return those of the ids of requests that are in the books."""
    known: set[str] = set()
    for start in range(0, len(ids), _MAX_IDS):
        wanted = tables.requests.c.id.in_(ids[start : start + _MAX_IDS])
        known.update(await connection.scalars(sa.select(tables.requests.c.id).where(wanted)))
    return known


def _joined(groups: Sequence[Group], known: set[str]) -> Group:
    """Return one group of several, without what belongs to requests that are there."""
    return Group(
        [row for group in groups for row in group.requests if row.id not in known],
        [row for group in groups for row in group.attempts if row.request_id not in known],
        [row for group in groups for row in group.kept],
        [row for group in groups for row in group.entries if row.request_id not in known],
        [row for group in groups for row in group.moves if row.request_id not in known],
    )


def _is_known(group: Group, known: set[str]) -> bool:
    return bool(group.requests) and all(request.id in known for request in group.requests)


def _is_about_values(error: BaseException) -> bool:
    """Return whether what was to be written is at fault, and not the database or the way to it."""
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        # asyncpg checks values itself before it sends them; SQLAlchemy knows no name for that.
        state = getattr(error.orig, "sqlstate", None) or ""
        cause = getattr(error.orig, "__cause__", None)
        return state.startswith(_SQLSTATES_OF_VALUES) or isinstance(cause, _IMPOSSIBLE_VALUES)
    return isinstance(error, _IMPOSSIBLE_VALUES)
