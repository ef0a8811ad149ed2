"""Accounts that the operator added: their credentials are sealed, the rest is plain."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.store import tables
from groxy.store.database import Database, bump
from groxy.store.secrets import InstallationSecret

ACCOUNTS = "accounts"
"""The revision name of this table."""


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


class _Sealed(msgspec.Struct):
    api_key: str
    options: dict[str, str]


async def add_account(  # noqa: PLR0913  an account has that many parts
    database: Database,
    secret: InstallationSecret,
    *,
    name: str,
    upstream: str,
    pool: str,
    base_url: str,
    api_key: str,
    options: Mapping[str, str],
) -> StoredAccount:
    """Store an account; raise BAD_REQUEST when the name is taken."""
    account_id = new_id("acc_")
    plain = msgspec.json.encode(_Sealed(api_key, dict(options)))
    row = {
        "id": account_id,
        "name": name,
        "upstream": upstream,
        "pool": pool,
        "base_url": base_url,
        "sealed": secret.seal(plain, owner=account_id),
        "created_ms": time.time_ns() // 1_000_000,
    }
    async with database.transaction() as connection:
        try:
            await connection.execute(sa.insert(tables.accounts).values(row))
        except IntegrityError:
            message = f"There is an account named {name!r} already. Choose another name."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="name") from None
        await bump(connection, ACCOUNTS)
    return StoredAccount(
        id=account_id,
        name=name,
        upstream=upstream,
        pool=pool,
        base_url=base_url,
        api_key=api_key,
        options=options,
    )


async def list_accounts(database: Database, secret: InstallationSecret) -> list[StoredAccount]:
    """Return every stored account, oldest first."""
    query = sa.select(tables.accounts).order_by(tables.accounts.c.created_ms, tables.accounts.c.id)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_opened(row, secret) for row in rows]


async def remove_account(database: Database, name: str) -> None:
    """Forget an account; raise NOT_FOUND when there is none of that name."""
    async with database.transaction() as connection:
        gone = await connection.execute(
            sa.delete(tables.accounts).where(tables.accounts.c.name == name)
        )
        if gone.rowcount == 0:
            message = f"There is no stored account named {name!r}. `groxy account list` shows them."
            raise GroxyError(ErrorKind.NOT_FOUND, message)
        await bump(connection, ACCOUNTS)


def _opened(row: sa.RowMapping, secret: InstallationSecret) -> StoredAccount:
    plain = msgspec.json.decode(secret.open(row["sealed"], owner=row["id"]), type=_Sealed)
    return StoredAccount(
        id=row["id"],
        name=row["name"],
        upstream=row["upstream"],
        pool=row["pool"],
        base_url=row["base_url"],
        api_key=plain.api_key,
        options=plain.options,
    )
