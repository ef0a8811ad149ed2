"""The index of stored media: pictures, films and files, whose bytes are in the media store.

In: what was stored. Out: one, lists, sums, and what is to go. It never touches the bytes: a row is
written after them and deleted before them, so that no row is without. Sums are those of the rows,
byte for byte. Times are unix milliseconds.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import Database, chunks, storable

Kind = Literal["image", "video", "file"]
KINDS: tuple[Kind, ...] = ("image", "video", "file")

_MAX_NAME_CHARS = 255
_MAX_PURPOSE_CHARS = 64
_MAX_TYPE_CHARS = 128

_media = tables.media.c
_newest_first = (_media.created_ms.desc(), _media.id.desc())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Something in the media store."""

    id: str
    """32 random hex digits."""
    kind: Kind
    owner: str
    """The id of the key that it was made for."""
    name: str
    """As its owner calls it; empty for what was made here."""
    purpose: str
    """What its owner means it for; of files only."""
    content_type: str
    size_bytes: int
    etag: str
    """The SHA-256 of the bytes in hex, without quotes."""
    created_ms: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """How much there is of a kind."""

    count: int = 0
    size_bytes: int = 0


_NAMES = tuple(field.name for field in fields(Stored))


async def add_media(database: Database, stored: Stored) -> None:
    """Enter what was stored; durable when this returns."""
    row: dict[str, object] = {name: getattr(stored, name) for name in _NAMES}
    row |= {
        "name": storable(stored.name, _MAX_NAME_CHARS),
        "purpose": storable(stored.purpose, _MAX_PURPOSE_CHARS),
        "content_type": storable(stored.content_type, _MAX_TYPE_CHARS),
    }
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.media).values(row))


async def find_media(database: Database, id: str) -> Stored | None:  # noqa: A002 - its name
    """Return one, whether it has expired or not; the id has been checked."""
    query = sa.select(tables.media).where(_media.id == id)
    async with database.transaction() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else Stored(**row)


async def page_of_media(
    database: Database, kind: Kind, *, offset: int, limit: int
) -> tuple[int, list[Stored]]:
    """Return how many there are of a kind, and some of them, newest first."""
    count = sa.select(sa.func.count()).where(_media.kind == kind)
    query = (
        sa.select(tables.media)
        .where(_media.kind == kind)
        .order_by(*_newest_first)
        .offset(offset)
        .limit(limit)
    )
    async with database.transaction() as connection:
        total = await connection.scalar(count) or 0
        rows = (await connection.execute(query)).mappings().all()
    return total, [Stored(**row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of an owner's files are wanted, and how many."""

    owner: str
    now_ms: int
    """What has expired by then is left out."""
    limit: int
    after: Stored | None = None
    """The one behind which the list begins."""
    newest_first: bool = True
    purpose: str = ""
    """Empty for any."""


async def files_of(database: Database, wanted: Wanted) -> list[Stored]:
    """Return the files of an owner that are wanted."""
    conditions = [
        _media.owner == wanted.owner,
        _media.kind == "file",
        sa.or_(_media.expires_ms.is_(None), _media.expires_ms > wanted.now_ms),
    ]
    if wanted.purpose:
        conditions.append(_media.purpose == storable(wanted.purpose, _MAX_PURPOSE_CHARS))
    place = (_media.created_ms, _media.id)
    if wanted.after is not None:
        here = sa.tuple_(*place)
        there = sa.tuple_(wanted.after.created_ms, wanted.after.id)
        conditions.append(here < there if wanted.newest_first else here > there)
    order = _newest_first if wanted.newest_first else place
    query = sa.select(tables.media).where(*conditions).order_by(*order).limit(wanted.limit)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [Stored(**row) for row in rows]


async def delete_media(
    database: Database, ids: Collection[str], kind: Kind | None = None
) -> list[Stored]:
    """Delete rows, a batch at a time; return those that were there and that nobody else deleted.

    With a `kind`, only what is of it.
    """
    gone: list[Stored] = []
    for part in chunks(list(ids)):
        query = sa.delete(tables.media).where(_media.id.in_(part)).returning(tables.media)
        query = query if kind is None else query.where(_media.kind == kind)
        async with database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        gone += [Stored(**row) for row in rows]
    return gone


async def sums_of_media(database: Database) -> dict[Kind, Sum]:
    """Return how much there is of every kind."""
    query = sa.select(
        _media.kind, sa.func.count(), sa.func.coalesce(sa.func.sum(_media.size_bytes), 0)
    ).group_by(_media.kind)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    found = {kind: Sum(count, int(size_bytes)) for kind, count, size_bytes in rows}
    return {kind: found.get(kind, Sum()) for kind in KINDS}


async def oldest_beyond(
    database: Database, kind: Kind, keep_bytes: int, *, but: str, limit: int
) -> list[str]:
    """Return ids of the oldest of a kind, without which the newest have at most `keep_bytes`.

    `but` is never among them.
    """
    total = sa.func.sum(_media.size_bytes).over(order_by=_newest_first)
    newest = sa.select(
        _media.id, _media.created_ms, total.label("total")
    ).where(_media.kind == kind).subquery()  # fmt: skip
    query = (
        sa.select(newest.c.id)
        .where(newest.c.total > keep_bytes, newest.c.id != but)
        .order_by(newest.c.created_ms, newest.c.id)
        .limit(limit)
    )
    async with database.transaction() as connection:
        return list(await connection.scalars(query))


async def expired_media(
    database: Database, now_ms: int, *, made_before_ms: int | None, limit: int
) -> list[str]:
    """Return ids of what has expired, and of pictures and films that were made too long ago."""
    is_over = _media.expires_ms <= now_ms
    if made_before_ms is not None:
        is_made = _media.kind.in_(("image", "video"))
        is_over = sa.or_(is_over, sa.and_(is_made, _media.created_ms < made_before_ms))
    query = sa.select(_media.id).where(is_over).limit(limit)
    async with database.transaction() as connection:
        return list(await connection.scalars(query))


async def known_media(database: Database, ids: Sequence[str]) -> set[str]:
    """Return those of the ids that have rows."""
    found: set[str] = set()
    for part in chunks(ids):
        async with database.transaction() as connection:
            found |= set(await connection.scalars(sa.select(_media.id).where(_media.id.in_(part))))
    return found


async def media_after(
    database: Database, after: str, *, made_before_ms: int, limit: int
) -> list[str]:
    """Return ids behind `after` in the order of ids, of what was stored before a time."""
    query = (
        sa.select(_media.id)
        .where(_media.id > after, _media.created_ms < made_before_ms)
        .order_by(_media.id)
        .limit(limit)
    )
    async with database.transaction() as connection:
        return list(await connection.scalars(query))
