"""Writing the books: groups of rows, each in one transaction, because replies wait for it.

In: groups. Out: what the balances that they moved are by then. A group is written whole or not at
all; one is begun only when the one before it is done.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

from sqlalchemy.exc import SQLAlchemyError

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.database import Database, set_sqlite_pragmas
from groxy.store.ledger import Balances
from groxy.store.writing import Group, Statements, all_moves, write


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


_CACHED_STATEMENTS = 256
_HEAVY_BYTES = 256 * 1024
"""Of what requests leave behind: copying more of it would hold the loop up."""
_WRITE_ERRORS = (sqlite3.Error, OSError, OverflowError, UnicodeError)
"""The last two: a number or a text that SQLite cannot hold. The thread has to outlive them all."""


class _Order(NamedTuple):
    """A group on its way to the thread."""

    group: Group
    moved: Balances | None
    """The balances, when all rows are in a transaction that has only to be committed."""
    loop: asyncio.AbstractEventLoop
    written: "asyncio.Future[Balances]"


class _SqliteWriter:
    """Writes over connections of the driver itself, and commits from a thread of its own.

    Rows go into their transaction on the loop: that is computing, in pages that are in memory, and
    a thread that does it has to win the interpreter back for each statement, which cost a loaded
    process an eighth of its time. What may wait goes to the thread: the synced commit, and a whole
    group when somebody else is writing, or when there is no open connection.
    """

    def __init__(self, database: Database) -> None:
        self._path = str(database.engine.url.database)
        self._statements = _SqliteStatements(Statements.for_database(database))
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._patient: sqlite3.Connection | None = None
        """The thread's own, which waits for locks."""
        self._prompt: sqlite3.Connection | None = None
        """The loop's while no order is at the thread, which does not wait."""
        self._orders_out = 0
        self._thread = threading.Thread(target=self._work, name="groxy-books", daemon=True)
        self._thread.start()

    def submit(self, group: Group) -> "asyncio.Future[Balances]":
        """Begin to write all rows in one transaction."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Balances] = loop.create_future()
        moved = None if self._orders_out or _is_heavy(group) else self._fill(group)
        self._orders_out += 1
        self._orders.put(_Order(group, moved, loop, written))
        return written

    async def close(self) -> None:
        """Finish what is being written and close the file."""
        self._orders.put(None)
        self._thread.join()

    def _fill(self, group: Group) -> Balances | None:
        """Put a group into a transaction; None when the thread has to do all of it."""
        if self._prompt is None:
            return None
        try:
            self._prompt.execute("BEGIN IMMEDIATE")
            return self._statements.put(self._prompt, group)
        except _WRITE_ERRORS:
            # The thread meets the same, and says so, or does not.
            with suppress(sqlite3.Error):
                self._prompt.rollback()
            return None

    def _settle(self, written: "asyncio.Future[Balances]", outcome: Balances | GroxyError) -> None:
        self._orders_out -= 1
        if written.done():
            return
        if isinstance(outcome, GroxyError):
            written.set_exception(outcome)
        else:
            written.set_result(outcome)

    # ----------------------------------------------------------------------------------- the thread

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            outcome = self._outcome_of(order)
            order.loop.call_soon_threadsafe(self._settle, order.written, outcome)
        self._disconnect()

    def _outcome_of(self, order: _Order) -> Balances | GroxyError:
        try:
            if order.moved is not None and self._prompt is not None:
                if _is_committed(self._prompt):
                    return order.moved
                self._prompt.rollback()
            connection = self._patient or self._connect()
            with connection:
                return self._statements.put(connection, order.group)
        except _WRITE_ERRORS as error:
            self._disconnect()
            return _not_written(error)

    def _connect(self) -> sqlite3.Connection:
        self._patient = self._opened()
        self._prompt = self._opened()
        self._prompt.execute("PRAGMA busy_timeout=0")
        return self._patient

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, cached_statements=_CACHED_STATEMENTS, check_same_thread=False
        )
        set_sqlite_pragmas(connection, None)
        return connection

    def _disconnect(self) -> None:
        """Close both connections; what was in a transaction is rolled back."""
        prompt, self._prompt = self._prompt, None
        patient, self._patient = self._patient, None
        for connection in (prompt, patient):
            if connection is not None:
                connection.close()


def _is_committed(connection: sqlite3.Connection) -> bool:
    """Commit; return False when readers are in the way, as where a file cannot have a log."""
    try:
        connection.commit()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _is_heavy(group: Group) -> bool:
    """Return whether the thread should write a group."""
    return sum(len(row.sealed) for row in group.kept) > _HEAVY_BYTES


# Values that are not exactly int, float, str or bytearray are taken as they are when nothing adapts
# them, which sqlite3 finds out anew for each, with an exception: half a microsecond.
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(bytes, bytes)


class _SqliteStatements:
    """Puts groups into transactions, many rows with one statement."""

    _ROWS_AT_ONCE = (16, 8, 4, 2, 1)
    """The widest table has 33 columns, and old SQLite takes 999 values."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._many: dict[tuple[str, int], str] = {}

    def put(self, connection: sqlite3.Connection, group: Group) -> Balances:
        """Write all rows; return the balances moved."""
        for sql, rows in self._statements.of(group):
            self._insert(connection, sql, rows)
        return {
            # All rows, though there is one: a statement that is not done keeps its lock.
            move.name: connection.execute(self._statements.move, move[:3]).fetchall()[0]
            for move in all_moves(group)
        }

    def _insert(
        self, connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        start = 0
        for size in self._ROWS_AT_ONCE:
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


class _AsyncWriter:
    """Writes through the database's own pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = Statements.for_database(database)

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
