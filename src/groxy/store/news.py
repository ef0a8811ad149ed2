"""What changed in a table since a revision; its rows bear the revision of their last change.

In: a table with `revision` and `id`. Out: rows in the order of their changes; all of them where
that is not known. A row that changes while they are read may come twice; the later one counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.store.database import CHUNK_ROWS, revision_of

_LAST_ID = "\uffff"
"""After every id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was read."""

    revision: int
    """Of the table, as of before its rows were read."""
    is_whole: bool
    """True when all rows were, so that whatever is not among them is gone."""


async def read_rows_since(
    connection: AsyncConnection,
    table: sa.Table,
    name: str,
    revision: int,
    *,
    take: Callable[[sa.RowMapping], None],
    live: sa.ColumnElement[bool] | None = None,
) -> News:
    """Hand the rows that changed after `revision` to `take`, inside a transaction; 0 for all.

    Of all rows only those that are `live` are handed on, of changed ones every one. A revision that
    lies ahead, as after the restoration of a backup, gives all as well. So does a change that no
    row bears: a Groxy of before, which may still run beside this one, does not say what it changed.
    """
    columns = table.c
    now = await revision_of(connection, name)
    newest = (await connection.scalar(sa.select(sa.func.max(columns.revision)))) or 0
    is_whole = revision <= 0 or revision > now or newest < now
    after = (-1, "") if is_whole else (revision, _LAST_ID)
    query = sa.select(table).order_by(columns.revision, columns.id).limit(CHUNK_ROWS)
    if is_whole and live is not None:
        query = query.where(live)
    place = sa.tuple_(columns.revision, columns.id)
    while True:
        rows = (await connection.execute(query.where(place > after))).mappings().all()
        for row in rows:
            take(row)
        if len(rows) < CHUNK_ROWS:
            return News(revision=now, is_whole=is_whole)
        after = (rows[-1]["revision"], rows[-1]["id"])
