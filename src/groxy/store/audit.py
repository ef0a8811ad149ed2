"""The operator's acts: who did what to what, and how it was before and after.

In: entries without secrets; whoever writes them leaves those out. Out: lines, newest first. Lines
are never changed.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database, chunks, storable

MAX_LINES = 500
"""How many lines can be had at once."""
_MAX_ACTION = 64
_MAX_REQUEST_ID = 40
_MAX_TEXT = 10_000
"""How long the name of an actor or a target can be; the rest is cut off."""

_audit = tables.audit.c


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act, as it is to be written."""

    actor: str
    """Whose key it was."""
    action: str
    """What was done, such as `account.add`."""
    target: str
    """What it was done to, such as an account's id."""
    before: object = None
    after: object = None
    """What JSON has, without secrets."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine(AuditEntry):
    """One act, as it was written."""

    id: str
    at_ms: int


async def write_audit(place: AsyncConnection | Database, entries: Sequence[AuditEntry]) -> None:
    """Write entries, all or none; into a transaction that is under way, if that is given."""
    if isinstance(place, Database):
        async with place.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
            await write_audit(connection, entries)
        return
    now_us = time.time_ns() // 1_000
    rows = [_row(entry, now_us + index) for index, entry in enumerate(entries)]
    for part in chunks(rows):
        await place.execute(sa.insert(tables.audit), list(part))


async def list_audit(
    database: Database, *, before: str = "", limit: int = 50, action: str = "", target: str = ""
) -> list[AuditLine]:
    """Return lines, newest first: those older than the line `before`, of an action, of a target."""
    asked = (before, action, target)
    if not all(text.isprintable() for text in asked):  # PostgreSQL takes no NUL
        return []
    wanted = [
        condition
        for text, condition in zip(
            asked,
            (_audit.id < before, _audit.action == action, _audit.target == target),
            strict=True,
        )
        if text
    ]
    query = sa.select(tables.audit).where(*wanted).order_by(_audit.id.desc())
    async with database.transaction() as connection:
        rows = await connection.execute(query.limit(min(max(limit, 1), MAX_LINES)))
        return [_line(row) for row in rows.mappings()]


def _row(entry: AuditEntry, at_us: int) -> dict[str, Any]:
    """Return an entry's columns; microseconds keep the ids of one process in their order."""
    return {
        "id": f"aud_{at_us:014x}{secrets.token_hex(6)}",
        "at_ms": at_us // 1_000,
        "actor": storable(entry.actor, _MAX_TEXT),
        "action": storable(entry.action, _MAX_ACTION),
        "target": storable(entry.target, _MAX_TEXT),
        "before": msgspec.json.encode(entry.before).decode(),
        "after": msgspec.json.encode(entry.after).decode(),
        "request_id": storable(entry.request_id, _MAX_REQUEST_ID),
    }


def _line(row: sa.RowMapping) -> AuditLine:
    opened = {name: msgspec.json.decode(row[name]) for name in ("before", "after")}
    return AuditLine(**{**row, **opened})
