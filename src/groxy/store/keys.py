"""Keys at rest: digests only. A key itself is shown once, when it is made or rotated.

In: names, owners, grants, changes. Out: keys, and what changed since a revision. Whoever names a
`user_id` sees and changes keys of that user only: any other is not there. It checks no number of a
grant: whoever reads what people type has done so.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import ANY_KEY, KeyGrant
from groxy.core.ids import new_id
from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database, bump, settled, storable
from groxy.store.ledger import recount_spends
from groxy.store.news import read_rows_since
from groxy.store.secrets import InstallationSecret
from groxy.store.users import no_such_user

KEYS = "keys"
"""The revision name of this table."""
MAX_NAME_CHARS = 256
MAX_PAGE = 1_000
MAX_OF_USER = 10_000
"""Keys in force of one user: each takes memory in every process."""
MAX_GRACE_MS = 90 * 86_400_000
_MAX_TIME_MS = 2**53

_keys = tables.keys.c
_grants = msgspec.json.Decoder(KeyGrant)


class KeyRole(Enum):
    """What a key opens: the public API, or the operator's."""

    CALLER = "caller"
    OPERATOR = "operator"


_PREFIXES = {KeyRole.CALLER: "sk-grok-", KeyRole.OPERATOR: "adm-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as the database knows it."""

    id: str
    name: str
    role: KeyRole
    digest: bytes
    hint: str
    created_ms: int
    revoked_ms: int | None
    user_id: str = ""
    """Empty for one that is the operator's own."""
    grant: KeyGrant = ANY_KEY
    expires_ms: int | None = None
    disabled_ms: int | None = None
    """Since when its owner let it rest."""
    suspended_ms: int | None = None
    """Since when the operator had it taken out of service, whatever its owner says."""
    previous: bytes | None = None
    """The digest from before it was rotated."""
    previous_until_ms: int | None = None

    @property
    def rests_since_ms(self) -> int | None:
        """Since when it does not work, because its owner or the operator says so."""
        return min(filter(None, (self.disabled_ms, self.suspended_ms)), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNews:
    """Keys that changed."""

    revision: int
    keys: list[StoredKey]
    """Those that are not revoked; of two with one id the later one counts."""
    gone: list[str]
    """Ids of those that were revoked, or whose grant cannot be read."""
    is_whole: bool
    """True when these are all keys."""


async def create_key(  # noqa: PLR0913 - each is a field of its own
    database: Database,
    secret: InstallationSecret,
    *,
    name: str,
    role: KeyRole,
    user_id: str = "",
    grant: KeyGrant = ANY_KEY,
    expires_ms: int | None = None,
) -> tuple[str, StoredKey]:
    """Make a key; return it, for the only time, and what was stored of it.

    Raises NOT_FOUND (`user_not_found`), and CONFLICT (`too_many_keys`).
    """
    if role is KeyRole.OPERATOR:
        _refuse_bounds(user_id, grant)
    key = _new_secret(role)
    stored = StoredKey(
        id=new_id("key_"),
        name=storable(name, MAX_NAME_CHARS),
        role=role,
        digest=secret.digest(key),
        hint=key[-4:],
        created_ms=_now_ms(),
        revoked_ms=None,
        user_id=user_id,
        grant=grant,
        expires_ms=_checked_time(expires_ms),
    )
    async with database.transaction() as connection:
        revision = await bump(connection, KEYS)
        if user_id:
            await _refuse_owner(connection, user_id)
        row = _row(stored) | {"revision": revision}
        await connection.execute(sa.insert(tables.keys).values(row))
    return key, stored


async def update_key(
    database: Database, key_id: str, changes: Mapping[str, object], *, user_id: str | None = None
) -> tuple[StoredKey, StoredKey]:
    """Change `name`, `grant`, `expires_ms`, `disabled` (by its owner) or `suspended` (by the
    operator; both bool) of a key; return it as it was and as it is then.

    `grant` may be a function from the one that it has: nobody changes it in between. Raises
    NOT_FOUND for one that is not in force, and BAD_REQUEST for any other field or a value of
    another type.
    """
    async with database.transaction() as connection:
        revision = await bump(connection, KEYS)
        before = await _read(connection, key_id, user_id)
        if "grant" in changes:
            changes = {**changes, "grant": settled(changes["grant"], before.grant)}
        values = _values(changes) | {"revision": revision}
        if "terms" in values:
            today = datetime.fromtimestamp(_now_ms() / 1000, UTC).date()
            await recount_spends(connection, key_id, today)
        return before, await _change(connection, key_id, user_id, values)


def by_operator(*, disabled: bool) -> dict[str, object]:
    """Return the changes by which the operator takes a key out of service, or puts it in force.

    In force means that it works, whoever disabled it. A Groxy of before 0006 that still runs beside
    this one knows only what owners say, so out of service is both.
    """
    return {"suspended": disabled, "disabled": disabled}


async def rotate_key(
    database: Database,
    secret: InstallationSecret,
    key_id: str,
    *,
    grace_ms: int,
    user_id: str | None = None,
) -> tuple[str, StoredKey]:
    """Give a key another secret; return it, for the only time, and what is stored of it.

    The secret that it has works for `grace_ms` more; one from before that works no more at all.
    Raises NOT_FOUND for a key that is not in force, and BAD_REQUEST for a grace that is none.
    """
    if isinstance(grace_ms, bool) or not 0 <= grace_ms <= MAX_GRACE_MS:
        message = f"`grace` must be 0 to {MAX_GRACE_MS // 86_400_000} days."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="grace")
    async with database.transaction() as connection:
        revision = await bump(connection, KEYS)
        before = await _read(connection, key_id, user_id)
        key = _new_secret(before.role)
        values = {
            "digest": secret.digest(key),
            "hint": key[-4:],
            "previous": before.digest if grace_ms else None,
            "previous_until_ms": _now_ms() + grace_ms if grace_ms else None,
            "revision": revision,
        }
        return key, await _change(connection, key_id, user_id, values)


async def revoke_key(database: Database, key_id: str, *, user_id: str | None = None) -> None:
    """Revoke a key for good; raise NOT_FOUND when there is no such key in force."""
    async with database.transaction() as connection:
        revision = await bump(connection, KEYS)
        values = {"revoked_ms": _now_ms(), "revision": revision}
        await _change(connection, key_id, user_id, values)


async def find_key(database: Database, key_id: str, *, user_id: str | None = None) -> StoredKey:
    """Return a key that was not revoked; raise NOT_FOUND."""
    async with database.transaction() as connection:
        return await _read(connection, key_id, user_id)


async def list_keys(database: Database) -> list[StoredKey]:
    """Return every key, revoked ones too, oldest first."""
    query = sa.select(tables.keys).order_by(_keys.created_ms, _keys.id)
    async with database.transaction() as connection:
        return [key_of(row) for row in (await connection.execute(query)).mappings()]


async def keys_of(
    database: Database,
    user_id: str,
    *,
    after: str = "",
    limit: int = 50,
    include_disabled: bool = True,
) -> list[StoredKey]:
    """Return at most `limit` keys of a user that were not revoked, oldest first.

    `after` is the id of the last key of the page before; one that is not theirs gives none. For an
    empty `user_id` it returns the keys that are the operator's own.
    """
    query = sa.select(tables.keys).where(_keys.user_id == user_id, _keys.revoked_ms.is_(None))
    if after:
        last = (
            sa.select(_keys.created_ms, _keys.id)
            .where(_keys.id == storable(after, 40), _keys.user_id == user_id)
            .subquery()
        )
        place = sa.tuple_(_keys.created_ms, _keys.id)
        query = query.where(place > sa.tuple_(last.c.created_ms, last.c.id))
    if not include_disabled:
        query = query.where(_keys.disabled_ms.is_(None), _keys.suspended_ms.is_(None))
    query = query.order_by(_keys.created_ms, _keys.id).limit(min(max(limit, 1), MAX_PAGE))
    async with database.transaction() as connection:
        return [key_of(row) for row in (await connection.execute(query)).mappings()]


async def keys_since(database: Database, revision: int) -> KeyNews:
    """Return the keys that changed after `revision`; 0 for all that are in force (`store.news`)."""
    keys: list[StoredKey] = []
    gone: list[str] = []

    def take(row: sa.RowMapping) -> None:
        try:
            if row["revoked_ms"] is None:
                keys.append(key_of(row))
            else:
                gone.append(row["id"])
        except (msgspec.MsgspecError, ValueError):
            # One that a newer Groxy wrote must not keep the others from being loaded.
            gone.append(row["id"])

    in_force = _keys.revoked_ms.is_(None)
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        news = await read_rows_since(
            connection, tables.keys, KEYS, revision, take=take, live=in_force
        )
    return KeyNews(revision=news.revision, keys=keys, gone=gone, is_whole=news.is_whole)


def _refuse_bounds(user_id: str, grant: KeyGrant) -> None:
    """Raise an error for a key of the operator that would only seem to be bound."""
    if user_id:
        message = "A key of the operator has no user. Leave `user_id` out."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="user_id")
    if grant != KeyGrant(tags=grant.tags):
        message = "A key of the operator cannot be bound. Leave all of `grant` but tags out."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="grant")


async def _refuse_owner(connection: AsyncConnection, user_id: str) -> None:
    """Raise an error when there is no such user, or none who may have another key."""
    users = tables.users.c
    is_there = user_id.isprintable() and await connection.scalar(
        sa.select(users.id).where(users.id == user_id)
    )
    if not is_there:
        raise no_such_user(user_id)
    theirs = sa.select(_keys.id).where(_keys.user_id == user_id, _keys.revoked_ms.is_(None))
    count = sa.select(sa.func.count()).select_from(theirs.limit(MAX_OF_USER).subquery())
    if (await connection.scalar(count) or 0) >= MAX_OF_USER:
        message = f"The user has {MAX_OF_USER} keys, which are the most. Revoke some first."
        raise GroxyError(ErrorKind.CONFLICT, message, code="too_many_keys")


def _is_it(key_id: str, user_id: str | None) -> sa.ColumnElement[bool]:
    """Return the condition for one key that is in force."""
    if not key_id.isprintable():  # PostgreSQL takes no NUL
        return sa.false()
    is_it = sa.and_(_keys.id == key_id, _keys.revoked_ms.is_(None))
    return is_it if user_id is None else sa.and_(is_it, _keys.user_id == user_id)


async def _change(
    connection: AsyncConnection, key_id: str, user_id: str | None, values: Mapping[str, Any]
) -> StoredKey:
    change = sa.update(tables.keys).where(_is_it(key_id, user_id)).values(**values)
    row = (await connection.execute(change.returning(tables.keys))).mappings().first()
    if row is None:
        raise _no_such_key(key_id)
    return key_of(row)


async def _read(connection: AsyncConnection, key_id: str, user_id: str | None) -> StoredKey:
    query = sa.select(tables.keys).where(_is_it(key_id, user_id))
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise _no_such_key(key_id)
    return key_of(row)


def _no_such_key(key_id: str) -> GroxyError:
    message = f"There is no key {storable(key_id, 40)} in force. `groxy key list` shows the ids."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="key_not_found")


def _values(changes: Mapping[str, object]) -> dict[str, Any]:
    """Return columns; raise BAD_REQUEST for what is no field, or of another type."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        match name, value:
            case "name", str():
                values[name] = storable(value, MAX_NAME_CHARS)
            case "grant", KeyGrant():
                values["terms"] = _written(value)
            case "expires_ms", int() | None:
                values[name] = _checked_time(value)
            case "disabled" | "suspended", bool():
                column = f"{name}_ms"
                # When that was first stays known.
                since = sa.func.coalesce(_keys[column], _now_ms()) if value else None
                values[column] = since
            case _:
                message = f"`{name[:64]}` of a key cannot be set so."
                raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name)
    return values


def _checked_time(expires_ms: int | None) -> int | None:
    if expires_ms is None:
        return None
    if isinstance(expires_ms, bool) or not 0 < expires_ms < _MAX_TIME_MS:
        message = "`expires_ms` must be a time in unix milliseconds."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="expires_ms")
    return expires_ms


def _new_secret(role: KeyRole) -> str:
    return _PREFIXES[role] + secrets.token_urlsafe(32)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _written(grant: KeyGrant) -> str:
    return msgspec.json.encode(grant).decode()


def _row(key: StoredKey) -> dict[str, Any]:
    row = {field.name: getattr(key, field.name) for field in fields(key)}
    del row["grant"]
    return row | {"role": key.role.value, "terms": _written(key.grant)}


def key_of(row: sa.RowMapping) -> StoredKey:
    """Return the key of a row."""
    # Most keys have no grant: they share the one that permits all.
    terms = row["terms"]
    return StoredKey(
        id=row["id"],
        name=row["name"],
        role=KeyRole(row["role"]),
        digest=row["digest"],
        hint=row["hint"],
        created_ms=row["created_ms"],
        revoked_ms=row["revoked_ms"],
        user_id=row["user_id"],
        grant=ANY_KEY if terms == "{}" else _grants.decode(terms),
        expires_ms=row["expires_ms"],
        disabled_ms=row["disabled_ms"],
        suspended_ms=row["suspended_ms"],
        previous=row["previous"],
        previous_until_ms=row["previous_until_ms"],
    )
