"""The ledger: lines of money, double entry, append only, and the balances that they add up to.

In: entries. Out: the same on disk, exactly once, with the balances that they move, in one
transaction; what the balances are then. An entry's id is that of its cause (a request, a code, a
payment), so that nothing is entered twice: the database refuses a second line of the same id, and
every change of a line. Amounts are ticks, and positive; the side tells which way they go.

The sides (`debit` gives, `credit` gets):

    user:<id>       what a user may spend still
    held            what is set aside for films that are being made; see `Kind.HOLD`
    house           keys that belong to nobody pay from here
    sales           what callers were charged
    costs           what upstreams cost
    upstream:<id>   what an account's owner is owed
    gifts, codes, adjustments, stripe   where credits come from

Balances are kept of users (`user:<id>`), and of what a key has spent, as a negative number, in all
(`spend:<key>:total`) and by day, week and month (`spend:<key>:day:2026-11-25`), as its caps need
them. All others are the sum of their lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database, bump, lock

BALANCES = "balances"
"""The revision name of moves beside requests."""
HOUSE, SALES, COSTS, HELD = "house", "sales", "costs", "held"


class Kind(Enum):
    """What an entry is."""

    CHARGE = "charge"
    COST = "cost"
    HOLD = "hold"
    """Set aside for a job that outlives its request and, maybe, its process."""
    RELEASE = "release"
    """What was set aside comes back, when the job ends; its charge is another line."""
    GRANT = "grant"
    REDEEM = "redeem"
    TOPUP = "topup"
    REFUND = "refund"
    ADJUST = "adjust"


class Entry(NamedTuple):
    """One line of money. The fields are the columns, in order."""

    id: str
    at_ms: int
    kind: str
    debit: str
    credit: str
    ticks: int
    user_id: str
    """Whose balance it moves; empty for nobody's."""
    key_id: str
    request_id: str
    note: str


class Move(NamedTuple):
    """By how much a balance is moved."""

    name: str
    ticks: int
    until_ms: int | None = None
    """When nobody asks for that balance any more."""
    request_id: str = ""
    """Whose lines move it."""


Balances = Mapping[str, tuple[int, int]]
"""Ticks and seq of balances, by name."""


def user_side(user_id: str) -> str:
    """Return a user's side of an entry, which is the name of the balance too."""
    return f"user:{user_id}"


def upstream_side(account_id: str) -> str:
    """Return the side of what an account's owner is owed."""
    return f"upstream:{account_id}"


def moves_of(entries: Iterable[Entry]) -> dict[str, int]:
    """Return by how much entries move the balances of users."""
    moves: dict[str, int] = {}
    for entry in entries:
        for side, ticks in ((entry.debit, -entry.ticks), (entry.credit, entry.ticks)):
            if side.startswith("user:"):
                moves[side] = moves.get(side, 0) + ticks
    return moves


async def balances_of(database: Database, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return ticks and seq of balances; (0, 0) for those that nothing was moved of yet."""
    columns = tables.balances.c
    query = sa.select(columns.name, columns.ticks, columns.seq).where(columns.name.in_(names))
    async with database.transaction() as connection:
        rows = await connection.execute(query)
        found = {row.name: (row.ticks, row.seq) for row in rows}
    return {name: found.get(name, (0, 0)) for name in names}


async def sides_of(database: Database) -> dict[str, int]:
    """Return what each side of the books got less what it gave; all users are one, `users`.

    The sum over all sides is 0, because each line gives what it takes.
    """
    query = sa.text(_SIDES)
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        return {row.side: int(row.ticks) for row in await connection.execute(query)}


_SIDES = """
SELECT side, SUM(ticks) AS ticks FROM (
    SELECT CASE WHEN credit LIKE 'user:%' THEN 'users'
        WHEN credit LIKE 'upstream:%' THEN 'upstreams' ELSE credit END AS side, ticks FROM entries
    UNION ALL
    SELECT CASE WHEN debit LIKE 'user:%' THEN 'users'
        WHEN debit LIKE 'upstream:%' THEN 'upstreams' ELSE debit END, -ticks FROM entries
) AS sides GROUP BY side ORDER BY side
"""


class StoredBalances:
    """The balances as whoever lets requests pass reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return ticks and seq of balances, by name.

        What a key has spent begins with what was counted before it had a cap.
        """
        found = await balances_of(self._database, names)
        fresh = [name for name, at in found.items() if at == (0, 0) and name.startswith("spend:")]
        if not fresh:
            return found
        async with self._database.transaction() as connection:
            for name in fresh:
                await connection.execute(_BEGIN_SPEND, _spend_of(name))
        return await balances_of(self._database, names)

    async def recount(self, key_id: str) -> None:
        """Bring up to date what a key has spent; every process learns of it within a second."""
        async with self._database.transaction() as connection:
            await lock(connection, BALANCES)
            await recount_spends(connection, key_id, datetime.now(UTC).date())


async def recount_spends(connection: AsyncConnection, key_id: str, today: date) -> None:
    """Bring up to date what a key has spent, inside a transaction that changes its caps.

    While a key has no cap, nobody moves the balance of that cap: who lifts one and sets it again
    would find it as it was before.
    """
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    words = ["total", f"day:{today}", f"week:{monday}", f"month:{first}"]
    columns = tables.balances.c
    query = sa.select(columns.name, columns.ticks).order_by(columns.name).with_for_update()
    query = query.where(columns.name.in_([f"spend:{key_id}:{word}" for word in words]))
    for name, ticks in (await connection.execute(query)).all():
        counted = int((await connection.execute(_COUNTED, _spend_of(name))).scalar_one())
        if counted < ticks:
            revision = await bump(connection, BALANCES)
            told = sa.update(tables.balances).where(columns.name == name)
            values = {"ticks": counted, "seq": columns.seq + 1, "revision": revision}
            await connection.execute(told.values(values))


def _spend_of(name: str) -> dict[str, object]:
    """Return what the counts of a key's spending are looked for with, from the balance's name."""
    _, key_id, word, *start = name.split(":")
    first, last = 0, 99_999_999
    if start:
        day = date.fromisoformat(start[0])
        days = {"day": 1, "week": 7}.get(word)
        end = day + timedelta(days=days) if days else (day + timedelta(days=32)).replace(day=1)
        first, last = _number(day), _number(end - timedelta(days=1))
    return {"name": name, "key_id": key_id, "first": first, "last": last}


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day


_SPENT_DAYS = "FROM usage_days WHERE key_id = :key_id AND day >= :first AND day <= :last"
_COUNTED = sa.text(f"SELECT -COALESCE(SUM(charge_ticks), 0) {_SPENT_DAYS}")
_BEGIN_SPEND = sa.text(
    "INSERT INTO balances (name, ticks, seq, revision, until_ms) "
    f"SELECT :name, -COALESCE(SUM(charge_ticks), 0), 1, 0, NULL {_SPENT_DAYS} "
    "ON CONFLICT (name) DO NOTHING"
)


async def enter_once(
    database: Database, entries: Sequence[Entry], moves: Sequence[Move] = ()
) -> dict[str, tuple[int, int]]:
    """Enter lines beside requests, unless the first of them is in the books; see `enter`."""
    async with database.transaction() as connection:
        await lock(connection, BALANCES)
        known = sa.select(tables.entries.c.id).where(tables.entries.c.id == entries[0].id)
        if await connection.scalar(known) is not None:
            return {}
        return await enter(connection, entries, moves)


async def balances_since(
    database: Database, revision: int
) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the newest revision, and the balances that were moved beside requests since one."""
    columns = tables.balances.c
    query = sa.select(columns.name, columns.ticks, columns.seq, columns.revision)
    query = query.where(columns.revision > revision)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    newest = max((row.revision for row in rows), default=revision)
    return newest, {row.name: (row.ticks, row.seq) for row in rows}


async def enter(
    connection: AsyncConnection, entries: Sequence[Entry], moves: Sequence[Move] = ()
) -> dict[str, tuple[int, int]]:
    """Enter lines beside requests (grants, codes, payments), inside a transaction of the caller's.

    Returns the balances moved: those of users, and those that `moves` names. Every process learns
    of them within a second. Raises SQLAlchemy's `IntegrityError` for an id that is in the books
    already: its cause was entered before.
    """
    revision = await bump(connection, BALANCES)
    await connection.execute(sa.insert(tables.entries), [entry._asdict() for entry in entries])
    all_moves = [Move(name, ticks) for name, ticks in moves_of(entries).items()]
    moved: dict[str, tuple[int, int]] = {}
    for move in sorted([*all_moves, *moves]):
        values = {"name": move.name, "ticks": move.ticks, "until_ms": move.until_ms}
        row = (await connection.execute(_MOVE, values)).one()
        moved[move.name] = (row.ticks, row.seq)
        columns = tables.balances.c
        told = sa.update(tables.balances).where(columns.name == move.name)
        await connection.execute(told.values(revision=revision))
    return moved


MOVE_SQL = (
    "INSERT INTO balances (name, ticks, seq, revision, until_ms) "
    "VALUES ({0}, {1}, 1, 0, {2}) ON CONFLICT (name) DO UPDATE SET "
    "ticks = balances.ticks + excluded.ticks, seq = balances.seq + 1 "
    "RETURNING ticks, seq"
)
"""Moves one balance; SQLite and PostgreSQL say it alike. To be filled with three placeholders."""

_MOVE = sa.text(MOVE_SQL.format(":name", ":ticks", ":until_ms"))
