"""Settings that the operator changed while Groxy runs: sealed, because some are secrets.

In: values that JSON has, by the setting's dotted name. Out: the same. It knows no setting, and
does not check them.
"""

import time
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import Database, bump
from groxy.store.secrets import InstallationSecret

OVERRIDES = "overrides"
"""The revision name of this table."""

_overrides = tables.overrides.c
_UPSERT = sa.text(
    "INSERT INTO overrides (name, sealed, changed_ms) VALUES (:name, :sealed, :changed_ms) "
    "ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, changed_ms = excluded.changed_ms"
).bindparams(*(sa.bindparam(column.name, type_=column.type) for column in _overrides))


async def read_overrides(database: Database, secret: InstallationSecret) -> dict[str, object]:
    """Return every changed setting's value by its name, in the order of the names."""
    async with database.transaction() as connection:
        rows = (await connection.execute(sa.select(tables.overrides))).all()
    return {
        row.name: msgspec.json.decode(secret.open(row.sealed, owner=row.name))
        for row in sorted(rows, key=lambda row: row.name)
    }


async def write_overrides(
    database: Database, secret: InstallationSecret, changes: Mapping[str, object | None]
) -> int:
    """Change settings, all or none; None gives one back to files and environment.

    Returns the new revision, or 0 when there was nothing to write.
    """
    if not changes:
        return 0
    now_ms = time.time_ns() // 1_000_000
    kept = {name: value for name, value in changes.items() if value is not None}
    rows = [
        {
            "name": name,
            "sealed": secret.seal(msgspec.json.encode(value), owner=name),
            "changed_ms": now_ms,
        }
        for name, value in kept.items()
    ]
    dropped = sa.delete(tables.overrides).where(_overrides.name.in_([*changes.keys() - kept]))
    async with database.transaction() as connection:
        revision = await bump(connection, OVERRIDES)
        await connection.execute(dropped)
        if rows:
            await connection.execute(_UPSERT, rows)
    return revision
