"""Keys at rest: digests only. A key itself is shown once, when it is made."""

import secrets
import time
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.store import tables
from groxy.store.database import Database, bump
from groxy.store.secrets import InstallationSecret

KEYS = "keys"
"""The revision name of this table."""


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


async def create_key(
    database: Database, secret: InstallationSecret, *, name: str, role: KeyRole
) -> tuple[str, StoredKey]:
    """Make a key; return it, for the only time, and what was stored of it."""
    key = _PREFIXES[role] + secrets.token_urlsafe(32)
    stored = StoredKey(
        id=new_id("key_"),
        name=name,
        role=role,
        digest=secret.digest(key),
        hint=key[-4:],
        created_ms=time.time_ns() // 1_000_000,
        revoked_ms=None,
    )
    row = {
        "id": stored.id,
        "name": stored.name,
        "role": stored.role.value,
        "digest": stored.digest,
        "hint": stored.hint,
        "created_ms": stored.created_ms,
    }
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.keys).values(row))
        await bump(connection, KEYS)
    return key, stored


async def list_keys(database: Database) -> list[StoredKey]:
    """Return every key, revoked ones too, oldest first."""
    query = sa.select(tables.keys).order_by(tables.keys.c.created_ms, tables.keys.c.id)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).mappings()
        return [StoredKey(**{**row, "role": KeyRole(row["role"])}) for row in rows]


async def revoke_key(database: Database, key_id: str) -> None:
    """Revoke a key for good; raise NOT_FOUND when there is no such key in force."""
    columns = tables.keys.c
    revoke = (
        sa.update(tables.keys)
        .where(columns.id == key_id, columns.revoked_ms.is_(None))
        .values(revoked_ms=time.time_ns() // 1_000_000)
    )
    async with database.transaction() as connection:
        if (await connection.execute(revoke)).rowcount == 0:
            message = f"There is no key {key_id} in force. `groxy key list` shows the ids."
            raise GroxyError(ErrorKind.NOT_FOUND, message)
        await bump(connection, KEYS)
