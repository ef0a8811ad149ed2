"""What tells accounts apart: the digests of their credentials, and their names.

In: digests and names that somebody wants, inside a transaction that holds the lock of accounts.
Out: which are free, or CONFLICT that says whose they are. It never sees a credential.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.account_rows import is_live
from groxy.store.database import chunks

_NAME_DIGITS = (8, 16, 64)
"""Of 10,000 accounts two have the same 8 digits now and then; such a one has more of them."""

_accounts = tables.accounts.c


class Known(NamedTuple):
    """Whose a digest is."""

    id: str
    name: str
    is_live: bool
    """False for an account that was removed."""


async def known_digests(
    connection: AsyncConnection, digests: Iterable[bytes]
) -> dict[bytes, Known]:
    """Return whose digests are, where they are anybody's."""
    columns = (_accounts.digest, _accounts.id, _accounts.name, is_live.label("live"))
    known: dict[bytes, Known] = {}
    for part in chunks(list(dict.fromkeys(digests))):
        rows = await connection.execute(sa.select(*columns).where(_accounts.digest.in_(part)))
        known |= {digest: Known(name_id, name, bool(live)) for digest, name_id, name, live in rows}
    return known


def first_of_each(digests: Sequence[bytes], known: Mapping[bytes, Known]) -> list[int]:
    """Return where those digests are that no account has which lives; of equal ones the first."""
    seen = {digest for digest, owner in known.items() if owner.is_live}
    first: list[int] = []
    for index, digest in enumerate(digests):
        if digest not in seen:
            seen.add(digest)
            first.append(index)
    return first


async def choose_names(
    connection: AsyncConnection, wanted: Sequence[tuple[str, str, bytes]]
) -> list[str]:
    """Return a name for each (name or "", upstream, digest); the made ones are all free.

    Raises CONFLICT for a given name that is taken, or given twice.
    """
    names = [name for name, _, _ in wanted]
    used = await _checked_names(connection, [name for name in names if name], but=())
    for digits in _NAME_DIGITS:
        made = {
            index: f"{upstream}-{digest.hex()[:digits]}"
            for index, (_, upstream, digest) in enumerate(wanted)
            if not names[index]
        }
        used |= set(await _owners(connection, made.values()))
        for index, name in made.items():
            if name not in used:
                used.add(name)
                names[index] = name
    return names


async def free_names(connection: AsyncConnection, names: Mapping[str, str]) -> None:
    """Make the names free that accounts (by id) are to have; raise CONFLICT for one that is not."""
    await _checked_names(connection, list(names.values()), but=names)
    for part in chunks(list(names)):
        # Until the new ones are written, so that accounts can swap their names.
        await connection.execute(
            sa.update(tables.accounts).where(_accounts.id.in_(part)).values(name=_accounts.id)
        )


async def free_digests(connection: AsyncConnection, digests: Mapping[str, bytes]) -> None:
    """Make the digests free that accounts (by id) are to have, or raise CONFLICT.

    Removed accounts lose theirs: they cannot come back then.
    """
    owners = await known_digests(connection, digests.values())
    seen: dict[bytes, str] = {}
    for account_id, digest in digests.items():
        owner = owners.get(digest)
        if digest in seen:
            raise refuse_duplicate(seen[digest])
        if owner is not None and owner.is_live and owner.id not in digests:
            raise refuse_duplicate(owner.name)
        seen[digest] = account_id
    losing = [*digests, *(owner.id for owner in owners.values() if not owner.is_live)]
    for part in chunks(losing):
        await connection.execute(
            sa.update(tables.accounts).where(_accounts.id.in_(part)).values(digest=None)
        )


def refuse_duplicate(owner: str) -> GroxyError:
    """Return the error for a credential that account `owner` has already."""
    message = f"This credential is account {owner!r} already. Change that one, or remove it first."
    return GroxyError(ErrorKind.CONFLICT, message, param="api_key", code="token_conflict")


def not_found(account_id: str) -> GroxyError:
    """Return the error for an account that is not there."""
    message = f"There is no stored account {account_id[:64]!r}. It may have been removed."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="account_not_found")


async def _checked_names(
    connection: AsyncConnection, names: Sequence[str], *, but: Iterable[str]
) -> set[str]:
    """Return the names as a set; raise CONFLICT for one of an account that is not among `but`."""
    used: set[str] = set()
    for name in names:
        if name in used:
            raise _name_taken(name)
        used.add(name)
    for name, owner in (await _owners(connection, used)).items():
        if owner not in but:
            raise _name_taken(name)
    return used


async def _owners(connection: AsyncConnection, names: Iterable[str]) -> dict[str, str]:
    """Return the ids of the accounts with these names, by name."""
    owners: dict[str, str] = {}
    for part in chunks(list(names)):
        query = sa.select(_accounts.name, _accounts.id).where(_accounts.name.in_(part), is_live)
        owners |= {row.name: row.id for row in await connection.execute(query)}
    return owners


def _name_taken(name: str) -> GroxyError:
    message = f"There is an account named {name!r} already. Choose another name."
    return GroxyError(ErrorKind.CONFLICT, message, param="name", code="account_name_taken")
