"""What goes into the books together, and what it is in SQL.

In: a group of rows. Out: statements, in as few steps as the database allows, because replies wait
for them. A group is written whole or not at all: requests, attempts, what they leave behind, lines
of money, balances, counts.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.store import counts, tables
from groxy.store.database import Database
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


def all_moves(group: Group) -> list[Move]:
    """Return by how much a group moves balances, each once, in one order for everybody."""
    moves = {name: Move(name, ticks) for name, ticks in moves_of(group.entries).items()}
    for move in group.moves:
        known = moves.get(move.name)
        moves[move.name] = move if known is None else move._replace(ticks=known.ticks + move.ticks)
    return [moves[name] for name in sorted(moves)]


class Statements:
    """What a group is in SQL, for one kind of database."""

    _known: ClassVar[dict[tuple[str, str], "Statements"]] = {}

    @classmethod
    def for_database(cls, database: Database) -> "Statements":
        """Return those of a database; they are made once for all of its kind."""
        dialect = database.engine.dialect
        kind = (dialect.name, dialect.paramstyle)
        if kind not in cls._known:
            cls._known[kind] = cls(dialect)
        return cls._known[kind]

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
