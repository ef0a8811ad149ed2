"""Keys, a page at a time: for operators all of them, for owners their own.

In: where a page begins. Out: keys that were not revoked. It changes nothing.
"""

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import Database, storable
from groxy.store.keys import MAX_PAGE, KeyRole, StoredKey, key_of

_keys = tables.keys.c
_PROVISIONING = '"is_provisioning":true'
"""As it stands in a grant; in a text of somebody's the quotes would be escaped."""


async def page_of_keys(
    database: Database, *, user_id: str | None = None, after: str = "", limit: int = 50
) -> list[StoredKey]:
    """Return at most `limit` keys after the id `after`, in the order of their ids.

    With `user_id` only those of that user; an empty one has the keys that belong to nobody.
    """
    query = sa.select(tables.keys).where(_keys.revoked_ms.is_(None), _keys.id > storable(after, 40))
    if user_id is not None:
        query = query.where(_keys.user_id == storable(user_id, 40))
    return await _read(database, query.order_by(_keys.id), limit)


async def newest_keys(
    database: Database,
    user_id: str,
    *,
    offset: int = 0,
    limit: int = 100,
    include_disabled: bool = False,
    include_provisioning: bool = True,
) -> list[StoredKey]:
    """Return callers' keys of a user, newest first, without the first `offset` of them."""
    query = sa.select(tables.keys).where(
        _keys.user_id == user_id,
        _keys.revoked_ms.is_(None),
        _keys.role == KeyRole.CALLER.value,
    )
    if not include_disabled:
        query = query.where(_keys.disabled_ms.is_(None), _keys.suspended_ms.is_(None))
    if not include_provisioning:
        query = query.where(~_keys.terms.contains(_PROVISIONING, autoescape=True))
    query = query.order_by(_keys.created_ms.desc(), _keys.id.desc()).offset(offset)
    return await _read(database, query, limit)


async def _read(
    database: Database, query: sa.Select[tuple[object, ...]], limit: int
) -> list[StoredKey]:
    async with database.transaction() as connection:
        rows = await connection.execute(query.limit(min(max(limit, 1), MAX_PAGE)))
        return [key_of(row) for row in rows.mappings()]
