"""Writing the books: groups of rows in one transaction, in as few steps as the database allows,
because replies wait for it.

In: groups. Out: what the balances that they moved are by then. A group is written whole or not at
all: requests, attempts, what they leave behind, lines of money, balances, counts.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from itertools import chain
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import counts, tables
from groxy.store.database import Database, set_sqlite_pragmas
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.kept import KeptRow
from groxy.store.ledger import MOVE_SQL, Balances, Entry, Move, moves_of


class Group(NamedTuple):
    """What goes into one transaction."""

    requests: Sequence[RequestEntry]
    attempts: Sequence[AttemptEntry]
    kept: Sequence[KeptRow] = ()
    """What these requests leave behind; a row takes the place of an older one with its id."""
    entries: Sequence[Entry] = ()
    """Lines of money. They move the balances of users by themselves."""
    moves: Sequence[Move] = ()
    """Other balances that these lines move: what keys have spent."""


_Order = tuple[Group, asyncio.AbstractEventLoop, "asyncio.Future[Balances]"]


class EntryWriter(Protocol):
    """Writes entries durably."""

    def submit(self, group: Group) -> "asyncio.Future[Balances]":
        """Begin to write all rows in one transaction; the future ends when that is done.

        It has the balances moved, and ends with STORE_DOWN when nothing was written. Submit the
        next group only then.
        """
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


def entry_writer(database: Database) -> EntryWriter:
    """Return the fastest writer for a database."""
    return _SqliteWriter(database) if database.is_sqlite_file else _AsyncWriter(database)


def all_moves(group: Group) -> list[Move]:
    """Return by how much a group moves balances, each once, in one order for everybody."""
    moves = {name: Move(name, ticks) for name, ticks in moves_of(group.entries).items()}
    for move in group.moves:
        known = moves.get(move.name)
        moves[move.name] = move if known is None else move._replace(ticks=known.ticks + move.ticks)
    return [moves[name] for name in sorted(moves)]


class Statements:
    """What a group is in SQL, for one database."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._requests = _insert_sql(tables.requests, RequestEntry._fields, dialect)
        self._attempts = _insert_sql(tables.attempts, AttemptEntry._fields, dialect)
        self._kept = _upsert_sql(tables.kept, KeptRow._fields, dialect)
        self._entries = _insert_sql(tables.entries, Entry._fields, dialect)
        mark = "?" if dialect.name == "sqlite" else "$"
        self.move = MOVE_SQL.format(*("?" if mark == "?" else f"${at}" for at in (1, 2, 3)))
        self._days = counts.adding_sql("usage_days", counts.DAY_KEYS, counts.DAY_SUMS, mark)
        self._hours = counts.adding_sql("model_hours", counts.HOUR_KEYS, counts.HOUR_SUMS, mark)

    def of(self, group: Group) -> list[tuple[str, Sequence[tuple[Any, ...]]]]:
        """Return the statements for all but the balances, and the rows of each; none is empty."""
        steps: list[tuple[str, Sequence[tuple[Any, ...]]]] = [
            (self._requests, group.requests),
            (self._attempts, group.attempts),
            (self._kept, group.kept),
            (self._entries, group.entries),
            (self._days, counts.day_rows(group.requests)),
            (self._hours, counts.hour_rows(group.attempts)),
        ]
        return [(sql, rows) for sql, rows in steps if rows]


async def write(connection: AsyncConnection, statements: Statements, group: Group) -> Balances:
    """Write a group inside a transaction of the caller's; return the balances moved."""
    for sql, rows in statements.of(group):
        await connection.exec_driver_sql(sql, list(rows))
    balances: dict[str, tuple[int, int]] = {}
    for move in all_moves(group):
        moved = await connection.exec_driver_sql(statements.move, move[:3])
        balances[move.name] = tuple(moved.one())
    return balances


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


_ROWS_AT_ONCE = (16, 8, 4, 2, 1)
"""Rows of one statement. The widest table has 33 columns, and old SQLite takes 999 values."""
_CACHED_STATEMENTS = 256
_WRITE_ERRORS = (sqlite3.Error, OSError, OverflowError, UnicodeError)
"""The last two: a number or a text that SQLite cannot hold. The thread has to outlive them all."""


class _SqliteWriter:
    """Writes from a thread of its own over one connection of the driver itself.

    A lone reply waits for one hop there and back and one synced commit, and nothing else.
    """

    def __init__(self, database: Database) -> None:
        self._path = str(database.engine.url.database)
        self._statements = Statements(database.engine.dialect)
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._many: dict[tuple[str, int], str] = {}
        self._thread = threading.Thread(target=self._work, name="groxy-books", daemon=True)
        self._thread.start()

    def submit(self, group: Group) -> "asyncio.Future[Balances]":
        """Begin to write all rows in one transaction."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Balances] = loop.create_future()
        self._orders.put((group, loop, written))
        return written

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            group, loop, written = order
            outcome = self._outcome_of(group)
            loop.call_soon_threadsafe(_settle, written, outcome)
        self._disconnect()

    def _outcome_of(self, group: Group) -> Balances | GroxyError:
        try:
            connection = self._connection or self._connect()
            with connection:
                for sql, rows in self._statements.of(group):
                    self._insert(connection, sql, rows)
                return {
                    # All rows, though there is one: a statement that is not done keeps its lock.
                    move.name: connection.execute(self._statements.move, move[:3]).fetchall()[0]
                    for move in all_moves(group)
                }
        except _WRITE_ERRORS as error:
            self._disconnect()
            return _not_written(error)

    def _insert(
        self, connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows, many with one statement.

        With each statement that is run this thread lets go of the interpreter, and gets it back
        only when the loop has nothing to do for a moment. A statement for each row made a commit of
        64 requests wait for that some hundred times.
        """
        start = 0
        for size in _ROWS_AT_ONCE:
            while len(rows) - start >= size:
                part = rows[start : start + size]
                values = part[0] if size == 1 else list(chain.from_iterable(part))
                connection.execute(self._for_rows(sql, size), values)
                start += size

    def _for_rows(self, sql: str, size: int) -> str:
        """Return an INSERT of one row as one of so many."""
        if size == 1:
            return sql
        text = self._many.get((sql, size))
        if text is None:
            head, mark, rest = sql.partition(" VALUES ")
            row, close, tail = rest.partition(")")
            rows = ", ".join([row + close] * size)
            text = self._many[sql, size] = f"{head}{mark}{rows}{tail}"
        return text

    def _connect(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(self._path, cached_statements=_CACHED_STATEMENTS)
        set_sqlite_pragmas(self._connection, None)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _settle(written: "asyncio.Future[Balances]", outcome: Balances | GroxyError) -> None:
    if written.done():
        return
    if isinstance(outcome, GroxyError):
        written.set_exception(outcome)
    else:
        written.set_result(outcome)


class _AsyncWriter:
    """Writes through the database's own pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = Statements(database.engine.dialect)

    def submit(self, group: Group) -> "asyncio.Future[Balances]":
        """Begin to write all rows in one transaction."""
        # The journal holds the future and waits for it before it closes, so no task is lost.
        return asyncio.get_running_loop().create_task(self._write(group))

    async def _write(self, group: Group) -> Balances:
        try:
            async with self._database.bounded() as connection:
                return await write(connection, self._statements, group)
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
