"""Accounts as they are written and read: what is sealed of them, and rows by the thousand.

In: accounts with their credentials. Out: rows, and the same accounts again. Every function with a
connection runs inside its caller's transaction.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.terms import NO_TERMS, Terms
from groxy.store import tables
from groxy.store.database import CHUNK_ROWS, chunks
from groxy.store.secrets import InstallationSecret

_HINT_ENDS, _HINT_LEAST, _SHORT_HINT = 8, 20, 2

_accounts = tables.accounts.c
is_live = _accounts.deleted_ms.is_(None)
"""The condition for accounts that were not removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account with its credential opened."""

    id: str
    name: str
    upstream: str
    pool: str
    base_url: str
    api_key: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    proxy_url: str = field(default="", repr=False)
    terms: Terms = NO_TERMS
    hint: str = ""
    """The credential as it may be shown: its ends, or its beginning when it is short."""
    created_ms: int = 0
    """When it was added; again, if it was removed in between."""
    revision: int = 0


class _Sealed(msgspec.Struct):
    api_key: str
    options: dict[str, str]
    proxy_url: str = ""


_sealed = msgspec.json.Decoder(_Sealed)
_terms = msgspec.json.Decoder(Terms)


def digest_of(
    secret: InstallationSecret,
    upstream: str,
    base_url: str,
    api_key: str,
    options: Mapping[str, str] | None = None,
    name: str = "",
) -> bytes:
    """Return what is the same for the same credential at the same place, and tells nothing of it.

    `name` counts only where there is no credential: two local servers may share an address.
    """
    parts = ["account", upstream, base_url, api_key, "" if api_key else name]
    parts += [text for pair in sorted((options or {}).items()) for text in pair]
    return secret.digest("\n".join(f"{len(part)}:{part}" for part in parts))


def hint_of(api_key: str) -> str:
    """Return as much of a credential as may be shown."""
    if not api_key:
        return ""
    if len(api_key) > _HINT_LEAST:
        return f"{api_key[:_HINT_ENDS]}...{api_key[-_HINT_ENDS:]}"
    return f"{api_key[:_SHORT_HINT]}..."


def rows_of(
    secret: InstallationSecret,
    accounts: Sequence[StoredAccount],
    digests: Sequence[bytes | None],
) -> list[dict[str, Any]]:
    """Return accounts as they are written; sealing thousands takes a while, so not in the loop."""
    return [
        {
            "id": account.id,
            "name": account.name,
            "upstream": account.upstream,
            "pool": account.pool,
            "base_url": account.base_url,
            "sealed": secret.seal(
                msgspec.json.encode(
                    _Sealed(account.api_key, dict(account.options), account.proxy_url)
                ),
                owner=account.id,
            ),
            "created_ms": account.created_ms,
            "digest": digest,
            "terms": msgspec.json.encode(account.terms).decode(),
            "revision": account.revision,
            "hint": account.hint,
        }
        for account, digest in zip(accounts, digests, strict=True)
    ]


def open_row(row: sa.RowMapping, secret: InstallationSecret) -> StoredAccount:
    """Return the account of a row; raise STORE_DOWN when the secret is another one."""
    plain = _sealed.decode(secret.open(row["sealed"], owner=row["id"]))
    return StoredAccount(
        id=row["id"],
        name=row["name"],
        upstream=row["upstream"],
        pool=row["pool"],
        base_url=row["base_url"],
        api_key=plain.api_key,
        options=plain.options,
        proxy_url=plain.proxy_url,
        terms=_terms.decode(row["terms"]),
        hint=row["hint"] or hint_of(plain.api_key),
        created_ms=row["created_ms"],
        revision=row["revision"],
    )


def open_rows(rows: Sequence[sa.RowMapping], secret: InstallationSecret) -> list[StoredAccount]:
    """Return accounts, oldest first."""
    opened = [open_row(row, secret) for row in rows]
    return sorted(opened, key=lambda account: (account.created_ms, account.id))


async def read_rows(
    connection: AsyncConnection, wanted: sa.ColumnElement[bool]
) -> list[sa.RowMapping]:
    """Return rows, a part at a time; those that change meanwhile move to the end, unmissed."""
    found: dict[str, sa.RowMapping] = {}
    place = sa.tuple_(_accounts.revision, _accounts.id)
    query = sa.select(tables.accounts).where(wanted)
    after = (-1, "")
    while True:
        part = query.where(place > after).order_by(_accounts.revision, _accounts.id)
        rows = (await connection.execute(part.limit(CHUNK_ROWS))).mappings().all()
        found |= {row["id"]: row for row in rows}
        if len(rows) < CHUNK_ROWS:
            return list(found.values())
        after = (rows[-1]["revision"], rows[-1]["id"])


async def read_by_id(
    connection: AsyncConnection, secret: InstallationSecret, ids: Sequence[str]
) -> dict[str, StoredAccount]:
    """Return those of the accounts that are there, by id."""
    rows: list[sa.RowMapping] = []
    for part in chunks([name for name in ids if name.isprintable()]):
        query = sa.select(tables.accounts).where(_accounts.id.in_(part), is_live)
        rows += (await connection.execute(query)).mappings().all()
    opened = await asyncio.to_thread(open_rows, rows, secret)
    return {account.id: account for account in opened}


async def insert_rows(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write new rows."""
    for part in chunks(rows):
        await connection.execute(sa.insert(tables.accounts), list(part))


async def update_rows(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows over those with their ids, which live then; no digest leaves the old one."""
    for part in chunks(rows):
        await connection.execute(_UPDATE, [{f"new_{k}": row[k] for k in row} for row in part])


_CHANGING = [
    column
    for column in tables.accounts.columns
    if column.name not in {"id", "digest", "deleted_ms"}
]
_UPDATE = (
    sa.update(tables.accounts)
    .where(_accounts.id == sa.bindparam("new_id"))
    .values(
        {column.name: sa.bindparam(f"new_{column.name}") for column in _CHANGING}
        | {
            "digest": sa.func.coalesce(
                sa.bindparam("new_digest", type_=_accounts.digest.type), _accounts.digest
            ),
            "deleted_ms": None,
        }
    )
)
