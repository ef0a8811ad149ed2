"""Statements: a user's lines of money, newest first, and what they add up to.

In: a user, a span of time, the place where the last page ended. Out: lines as the user sees them:
with a sign, and nothing of what an upstream cost. Must not change anything.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.ledger import user_side

MAX_PAGE = 1_000
_MAX_CURSOR_CHARS = 120

_entries = tables.entries.c
_OF_A_USER = sa.text("entries.user_id <> ''")
"""The condition of the index: databases use it only for queries that say so word for word."""
_days = tables.usage_days.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as its user sees it."""

    id: str
    at_ms: int
    kind: str
    ticks: int
    """What it adds to the balance; negative for what it takes."""
    key_id: str
    request_id: str
    note: str

    @property
    def cursor(self) -> str:
        """The place behind this line."""
        return f"{self.at_ms}.{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span of time in unix milliseconds; without an end where it is None."""

    from_ms: int | None = None
    to_ms: int | None = None
    """The first moment that is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What a key has used, in ticks: in all, and since the beginning of days of UTC."""

    total: int
    day: int
    week: int
    month: int


async def read_statement(
    database: Database, user_id: str, span: Span, *, after: str = "", limit: int = 50
) -> list[Line]:
    """Return a page of a user's lines, newest first, those behind the cursor `after`.

    Raises BAD_REQUEST for a cursor that is none.
    """
    side = user_side(user_id)
    query = (
        sa.select(tables.entries)
        .where(
            _entries.user_id == user_id,
            _OF_A_USER,
            sa.or_(_entries.debit == side, _entries.credit == side),
        )
        .order_by(_entries.at_ms.desc(), _entries.id.desc())
        .limit(min(max(limit, 1), MAX_PAGE))
    )
    if span.from_ms is not None:
        query = query.where(_entries.at_ms >= span.from_ms)
    if span.to_ms is not None:
        query = query.where(_entries.at_ms < span.to_ms)
    if after:
        at_ms, entry_id = _read_cursor(after)
        # Written so that the index is used up to here; a row value of mixed types would not be.
        query = query.where(
            _entries.at_ms <= at_ms,
            sa.or_(_entries.at_ms < at_ms, _entries.id < entry_id),
        )
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    return [_line(row, side) for row in rows]


async def whole_statement(
    database: Database, user_id: str, span: Span
) -> AsyncGenerator[list[Line]]:
    """Yield all lines of a span, newest first, a page at a time."""
    after = ""
    while page := await read_statement(database, user_id, span, after=after, limit=MAX_PAGE):
        yield page
        if len(page) < MAX_PAGE:
            return
        after = page[-1].cursor


async def charged_ticks(database: Database, user_id: str) -> int:
    """Return what a user was charged in all."""
    query = sa.select(sa.func.sum(_days.charge_ticks)).where(_days.user_id == user_id)
    async with database.transaction() as connection:
        return int(await connection.scalar(query) or 0)


async def held_ticks(database: Database, user_id: str) -> int:
    """Return what is set aside of a user's balance for films that are being made."""
    # Few jobs are open at a time, and an index has only those; a user may have a million lines.
    query = sa.text(
        "SELECT SUM(e.ticks) FROM jobs j JOIN entries e ON e.id = j.request_id || '.hold' "
        "LEFT JOIN entries r ON r.id = j.request_id || '.release' "
        "WHERE j.completed_ms IS NULL AND r.id IS NULL AND e.user_id = :user_id"
    )
    async with database.transaction() as connection:
        return int(await connection.scalar(query, {"user_id": user_id}) or 0)


async def key_usage(
    database: Database, key_id: str, *, day: int, week: int, month: int, is_charged: bool
) -> KeyUsage:
    """Return what a key used in all, and since days such as 20261125.

    With `is_charged` it is what its user paid, else what the upstreams billed.
    """
    ticks = _days.charge_ticks if is_charged else _days.cost_ticks

    def since(first: int) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((_days.day >= first, ticks), else_=0))

    query = sa.select(sa.func.sum(ticks), since(day), since(week), since(month))
    async with database.transaction() as connection:
        row = (await connection.execute(query.where(_days.key_id == key_id))).one()
    total, of_day, of_week, of_month = (int(sum_ or 0) for sum_ in row)
    return KeyUsage(total=total, day=of_day, week=of_week, month=of_month)


def _line(row: sa.Row[tuple[object, ...]], side: str) -> Line:
    return Line(
        id=row.id,
        at_ms=row.at_ms,
        kind=row.kind,
        ticks=row.ticks if row.credit == side else -row.ticks,
        key_id=row.key_id,
        request_id=row.request_id,
        note=row.note,
    )


def _read_cursor(text: str) -> tuple[int, str]:
    at, _, entry_id = text.partition(".")
    is_one = len(text) <= _MAX_CURSOR_CHARS and text.isprintable() and text.isascii()
    if not is_one or not at.isdecimal() or len(at) > 16 or not entry_id:
        message = "`cursor` must be the `next` of a page before."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="cursor")
    return int(at), entry_id
