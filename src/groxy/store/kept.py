"""Things kept for a caller for a while, such as replies that a later request refers to.

In: values with a content of bytes. Out: the same, to their owner only. Contents are sealed like
credentials; ids, owners, links and times are plain. What belongs to another owner, what has
expired and what never was look alike. It knows no content, and forgets nothing by itself:
whoever runs it calls `purge`.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

PENDING = "pending"
"""The state of what is not finished yet; every other state is the keeper's own word."""
MAX_LINKS = 1_000
"""How many things a chain may have."""
MAX_IDS = 500
"""How many things can be asked for at once."""
_MAX_ID_LENGTH = 64
_PURGE_ROWS = 200
"""A batch of this many rows is deleted soon enough for those who want to write meanwhile."""

_kept = tables.kept.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A thing that is kept, with its content opened. Times are unix milliseconds."""

    id: str
    """At most 64 printable ASCII characters; unique over all owners, so nobody may guess it."""
    kind: str
    owner: str
    """The id of the key that it belongs to."""
    parent: str | None
    """The id of the thing before it, of the same owner and kind."""
    account_id: str
    state: str
    created_ms: int
    expires_ms: int
    content: bytes = field(repr=False)
    lease_ms: int | None = None
    """Until when somebody surely works on it, if it is pending."""


class KeptRow(NamedTuple):
    """A thing as it is written. The fields are the columns, in order.

    `store.entries` writes such rows together with a request's entry, so that keeping a reply costs
    no transaction of its own.
    """

    id: str
    kind: str
    owner: str
    parent: str | None
    account_id: str
    state: str
    created_ms: int
    expires_ms: int
    lease_ms: int | None
    sealed: bytes


class KeptStore:
    """Keeps things and gives them back. Raises STORE_DOWN when the database fails."""

    def __init__(self, database: Database, secret: InstallationSecret) -> None:
        self._database = database
        self._secret = secret

    def row(self, kept: Kept) -> KeptRow:
        """Return a thing as it is written, its content sealed; ValueError for an impossible id."""
        if not _is_id(kept.id):
            raise ValueError("the id of a kept thing is 1 to 64 printable ASCII characters")
        return KeptRow(
            kept.id,
            kept.kind,
            kept.owner,
            kept.parent,
            kept.account_id,
            kept.state,
            kept.created_ms,
            kept.expires_ms,
            kept.lease_ms,
            self._sealed(kept.id, kept.owner, kept.content),
        )

    async def put(self, kept: Kept) -> None:
        """Keep one thing; it is durable when this returns.

        Raises ValueError for an id that could not be asked for, STORE_DOWN for one that is taken.
        """
        row = self.row(kept)._asdict()
        async with self._database.transaction() as connection:
            await connection.execute(sa.insert(tables.kept).values(row))

    async def keep(self, rows: Sequence[KeptRow]) -> None:
        """Keep things, all or none; they are durable when this returns.

        One that has expired makes room. Raises STORE_DOWN for an id that is taken.
        """
        now_ms = time.time_ns() // 1_000_000
        ids = [row.id for row in rows]
        async with self._database.transaction() as connection:
            await connection.execute(
                sa.delete(tables.kept).where(_kept.id.in_(ids), _kept.expires_ms <= now_ms)
            )
            await connection.execute(sa.insert(tables.kept), [row._asdict() for row in rows])

    async def get(self, id: str, owner: str, kind: str) -> Kept | None:  # noqa: A002  its name
        """Return a thing, or None when this owner has none of that id and kind."""
        return (await self.many([id], owner, kind)).get(id)

    async def many(self, ids: Collection[str], owner: str, kind: str) -> dict[str, Kept]:
        """Return those of the things that this owner has, by id.

        Raises BAD_REQUEST for more than 500 ids.
        """
        if len(ids) > MAX_IDS:
            message = f"A request can refer to at most {MAX_IDS} stored items. Send fewer."
            raise GroxyError(ErrorKind.BAD_REQUEST, message)
        known = [name for name in ids if _is_id(name)]
        if not known:
            return {}
        query = sa.select(tables.kept).where(_kept.id.in_(known), *_valid(owner, kind))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["id"]: self._opened(row) for row in rows}

    async def chain(
        self,
        id: str,  # noqa: A002  its name
        owner: str,
        kind: str,
        *,
        param: str | None = None,
    ) -> list[Kept]:
        """Return a thing and all before it, oldest first.

        Raises NOT_FOUND when it is not there or one before it is missing, and BAD_REQUEST when
        there are more than 1,000; these errors name the request's field `param`.
        """
        rows: list[sa.RowMapping] = []
        if _is_id(id):
            async with self._database.transaction() as connection:
                rows = list((await connection.execute(_chain(id, owner, kind))).mappings())
        if not rows:
            message = "There is no such reply: it was never stored, was deleted or has expired."
            raise GroxyError(ErrorKind.NOT_FOUND, f"{message} {_REMEDY}", param=param)
        if len(rows) > MAX_LINKS:
            message = f"The conversation is longer than {MAX_LINKS} replies."
            raise GroxyError(ErrorKind.BAD_REQUEST, f"{message} {_REMEDY}", param=param)
        if rows[0]["parent"] is not None:
            message = "An earlier reply of this conversation was deleted or has expired."
            raise GroxyError(ErrorKind.NOT_FOUND, f"{message} {_REMEDY}", param=param)
        return [self._opened(row) for row in rows]

    async def delete(self, id: str, owner: str, kind: str) -> bool:  # noqa: A002  its name
        """Forget a thing; return whether this owner had it."""
        if not _is_id(id):
            return False
        query = sa.delete(tables.kept).where(_kept.id == id, *_valid(owner, kind))
        return await self._changed(query) == 1

    async def replace(self, id: str, owner: str, state: str, content: bytes) -> bool:  # noqa: A002
        """Finish a pending thing; return whether it was there and pending still."""
        query = (
            sa.update(tables.kept)
            .where(_kept.id == id, _kept.owner == owner, _kept.state == PENDING)
            .values(state=state, lease_ms=None, sealed=self._sealed(id, owner, content))
        )
        return await self._changed(query) == 1

    async def take(self, id: str, owner: str, kind: str) -> Kept | None:  # noqa: A002  its name
        """Return a thing, and forget it if it is finished: of several takers one gets it."""
        kept = await self.get(id, owner, kind)
        if kept is None or kept.state == PENDING:
            return kept
        # Whoever deletes the row is the one who took it.
        query = sa.delete(tables.kept).where(_kept.id == id, *_valid(owner, kind))
        return kept if await self._changed(query) == 1 else None

    async def renew(self, ids: Collection[str], lease_ms: int) -> int:
        """Say that the pending ones of `ids` are worked on until `lease_ms`; return how many."""
        if not ids:
            return 0
        pending = (_kept.id.in_(list(ids)), _kept.state == PENDING)
        # Those that are being finished, several at once, are passed over: who waited for them could
        # have some of them that the others wait for.
        free = sa.select(_kept.id).where(*pending).with_for_update(skip_locked=True)
        query = sa.update(tables.kept).where(_kept.id.in_(free)).values(lease_ms=lease_ms)
        return await self._changed(query)

    async def purge(self, now_ms: int) -> int:
        """Delete what has expired, a batch at a time; return how much that was."""
        purged = 0
        # Processes that purge at once pass over each other's rows instead of waiting for them.
        expired = (
            sa.select(_kept.id)
            .where(_kept.expires_ms <= now_ms)
            .limit(_PURGE_ROWS)
            .with_for_update(skip_locked=True)
        )
        while True:
            async with self._database.transaction() as connection:
                ids = list(await connection.scalars(expired))
                # The same condition again: on SQLite another row may have taken the place of one.
                gone = (_kept.id.in_(ids), _kept.expires_ms <= now_ms)
                delete = sa.delete(tables.kept).where(*gone)
                purged += (await connection.execute(delete)).rowcount if ids else 0
            if len(ids) < _PURGE_ROWS:
                return purged

    async def _changed(self, query: sa.Update | sa.Delete) -> int:
        async with self._database.transaction() as connection:
            return (await connection.execute(query)).rowcount

    def _sealed(self, name: str, owner: str, content: bytes) -> bytes:
        return self._secret.seal(content, owner=f"{name}:{owner}")

    def _opened(self, row: sa.RowMapping) -> Kept:
        return Kept(
            id=row["id"],
            kind=row["kind"],
            owner=row["owner"],
            parent=row["parent"],
            account_id=row["account_id"],
            state=row["state"],
            created_ms=row["created_ms"],
            expires_ms=row["expires_ms"],
            lease_ms=row["lease_ms"],
            content=self._secret.open(row["sealed"], owner=f"{row['id']}:{row['owner']}"),
        )


_REMEDY = "Send the whole conversation as input instead."


def _is_id(name: str) -> bool:
    """Return whether an id, which callers choose freely when they ask, can be one of ours.

    PostgreSQL takes no NUL, and neither driver half a character.
    """
    return 0 < len(name) <= _MAX_ID_LENGTH and name.isascii() and name.isprintable()


def _valid(owner: str, kind: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for what an owner may see now."""
    now_ms = time.time_ns() // 1_000_000
    return _kept.owner == owner, _kept.kind == kind, _kept.expires_ms > now_ms


def _chain(name: str, owner: str, kind: str) -> sa.Select[tuple[object, ...]]:
    """Return the query for a thing and all before it, oldest first, one more than is allowed."""
    valid = _valid(owner, kind)
    last = sa.select(_kept.id, _kept.parent, sa.literal(1).label("depth"))
    links = last.where(_kept.id == name, *valid).cte("links", recursive=True)
    earlier = sa.select(_kept.id, _kept.parent, links.c.depth + 1).join(
        links, _kept.id == links.c.parent
    )
    links = links.union_all(earlier.where(*valid, links.c.depth <= MAX_LINKS))
    return sa.select(tables.kept).join(links, _kept.id == links.c.id).order_by(links.c.depth.desc())
