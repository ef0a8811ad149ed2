"""Accounts that the operator added: their credentials are sealed, the rest is plain.

In: drafts and changes, many at once. Out: accounts with their credentials opened, and what changed
since a revision. Two accounts with the same credential at the same place are one: a digest tells.
It knows no upstream and checks no field. A removed account stays for a while, so that every process
learns of it and so that it has its id back when it comes again; `purge_accounts` ends that.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.core.terms import NO_TERMS, Terms
from groxy.store import tables
from groxy.store.account_identity import (
    Known,
    choose_names,
    first_of_each,
    free_digests,
    free_names,
    known_digests,
    not_found,
    refuse_duplicate,
)
from groxy.store.account_rows import (
    StoredAccount,
    digest_of,
    hint_of,
    insert_rows,
    is_live,
    open_row,
    open_rows,
    read_by_id,
    read_rows,
    rows_of,
    update_rows,
)
from groxy.store.database import (
    BULK_TIMEOUT_S,
    CHUNK_ROWS,
    Database,
    bump,
    chunks,
    lock,
    raise_revision,
    revision_of,
)
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import StandingChange, change_standings, delete_standings

__all__ = [
    "ACCOUNTS",
    "AccountChange",
    "AccountDraft",
    "AccountNews",
    "Added",
    "Duplicate",
    "StoredAccount",
    "accounts_since",
    "add_account",
    "add_accounts",
    "change_accounts",
    "digest_of",
    "find_account",
    "hint_of",
    "list_accounts",
    "purge_accounts",
    "remove_account",
    "remove_accounts",
]

ACCOUNTS = "accounts"
"""The revision name of this table."""
_PURGED = "accounts purged"
"""The revision name under which the newest revision of a purged row is kept."""

_accounts = tables.accounts.c


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDraft:
    """An account that is to be added."""

    upstream: str
    api_key: str = field(repr=False)
    name: str = ""
    """Empty for one that is made: `xai-0f3a9c12`, the same for the same credential."""
    pool: str = "heavy"
    base_url: str = ""
    proxy_url: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    terms: Terms = NO_TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A draft that was not added, because its account is there."""

    index: int
    """Which of the drafts."""
    account_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of drafts. Accounts are in the order of their drafts."""

    accounts: list[StoredAccount]
    duplicates: list[Duplicate]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """New values for an account; None leaves the old one."""

    account_id: str
    name: str | None = None
    pool: str | None = None
    base_url: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    options: Mapping[str, str] | None = field(default=None, repr=False)
    terms: Terms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNews:
    """What changed since a revision."""

    revision: int
    """What to ask with next time."""
    accounts: list[StoredAccount]
    gone: list[str]
    is_whole: bool
    """True when `accounts` are all there are, so that every other one is gone."""


async def add_accounts(
    database: Database, secret: InstallationSecret, drafts: Sequence[AccountDraft]
) -> Added:
    """Add accounts, all or none, and say which were there already.

    A draft with the credential of a removed account brings that one back: same id, new terms, a
    fresh standing. Raises CONFLICT when a name is another account's.
    """
    digests = await asyncio.to_thread(_digests, secret, drafts)
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        await lock(connection, ACCOUNTS)
        await _adopt(connection, secret)
        known = await known_digests(connection, digests)
        new = first_of_each(digests, known)
        wanted = [(drafts[index].name, drafts[index].upstream, digests[index]) for index in new]
        names = await choose_names(connection, wanted)
        revision = await bump(connection, ACCOUNTS) if new else 0
        now_ms = time.time_ns() // 1_000_000
        made = [
            {
                "id": known[digests[index]].id if digests[index] in known else new_id("acc_"),
                "name": name,
                "created_ms": now_ms,
                "revision": revision,
            }
            for index, name in zip(new, names, strict=True)
        ]
        accounts = await asyncio.to_thread(_drafted_all, [drafts[index] for index in new], made)
        rows = await asyncio.to_thread(rows_of, secret, accounts, [digests[index] for index in new])
        back = {found.id for found in known.values() if not found.is_live}
        await insert_rows(connection, [row for row in rows if row["id"] not in back])
        revived = [row for row in rows if row["id"] in back]
        await update_rows(connection, revived)
        if revived:
            await _refresh(connection, [row["id"] for row in revived], now_ms)
    owners = {digests[index]: account for index, account in zip(new, accounts, strict=True)}
    return Added(accounts=accounts, duplicates=_duplicates(digests, new, owners, known))


async def change_accounts(
    database: Database, secret: InstallationSecret, changes: Sequence[AccountChange]
) -> list[StoredAccount]:
    """Change accounts, all or none; return them as they are now, in the order of the changes.

    Raises NOT_FOUND for an account that is not there, CONFLICT for a name or a credential that is
    another account's.
    """
    ids = list(dict.fromkeys(change.account_id for change in changes))
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        await lock(connection, ACCOUNTS)
        await _adopt(connection, secret)
        before = await read_by_id(connection, secret, ids)
        after = await asyncio.to_thread(_applied, before, changes)
        changed = [name for name in ids if after[name] != before[name]]
        if changed:
            revision = await bump(connection, ACCOUNTS)
            after |= {name: replace(after[name], revision=revision) for name in changed}
            await _write_changes(connection, secret, before, [after[name] for name in changed])
    return [after[name] for name in ids]


async def remove_accounts(database: Database, ids: Sequence[str]) -> list[str]:
    """Remove accounts; return the ids of those that were there, in the order given."""
    wanted = list(dict.fromkeys(filter(str.isprintable, ids)))
    there: set[str] = set()
    now_ms = time.time_ns() // 1_000_000
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        await lock(connection, ACCOUNTS)
        for part in chunks(wanted):
            query = sa.select(_accounts.id).where(_accounts.id.in_(part), is_live)
            there.update(await connection.scalars(query))
        revision = await bump(connection, ACCOUNTS) if there else 0
        for part in chunks(sorted(there)):
            removal = sa.update(tables.accounts).where(_accounts.id.in_(part))
            await connection.execute(removal.values(deleted_ms=now_ms, revision=revision))
    return [name for name in wanted if name in there]


async def purge_accounts(database: Database, before_ms: int) -> int:
    """Forget for good what was removed before `before_ms`, standings too; return how many."""
    purged = 0
    old = sa.select(_accounts.id, _accounts.revision).where(_accounts.deleted_ms < before_ms)
    while True:
        async with database.transaction() as connection:
            await lock(connection, ACCOUNTS)
            rows = (await connection.execute(old.limit(CHUNK_ROWS))).all()
            if rows:
                ids = [row.id for row in rows]
                await connection.execute(sa.delete(tables.accounts).where(_accounts.id.in_(ids)))
                await delete_standings(connection, ids)
                await raise_revision(connection, _PURGED, max(row.revision for row in rows))
        purged += len(rows)
        if len(rows) < CHUNK_ROWS:
            return purged


async def accounts_since(
    database: Database, secret: InstallationSecret, revision: int
) -> AccountNews:
    """Return what changed after `revision`; all accounts for 0.

    All of them too for a revision before the newest purge, or one that lies ahead, as after the
    restoration of a backup.
    """
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        now = await revision_of(connection, ACCOUNTS)
        purged = await revision_of(connection, _PURGED)
        is_whole = revision == 0 or revision < purged or revision > now
        # Revision 0 is what an older Groxy wrote that still runs beside this one.
        is_new = sa.or_(_accounts.revision > revision, _accounts.revision == 0)
        rows = await read_rows(connection, is_live if is_whole else is_new)
    live = [row for row in rows if row["deleted_ms"] is None]
    accounts = await asyncio.to_thread(open_rows, live, secret)
    gone = [row["id"] for row in rows if row["deleted_ms"] is not None]
    return AccountNews(revision=now, accounts=accounts, gone=gone, is_whole=is_whole)


async def list_accounts(database: Database, secret: InstallationSecret) -> list[StoredAccount]:
    """Return every stored account, oldest first."""
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        rows = await read_rows(connection, is_live)
    return await asyncio.to_thread(open_rows, rows, secret)


async def find_account(
    database: Database, secret: InstallationSecret, name_or_id: str
) -> StoredAccount | None:
    """Return the account of that id, or else of that name."""
    if not name_or_id.isprintable():  # PostgreSQL takes no NUL
        return None
    is_it = sa.or_(_accounts.id == name_or_id, _accounts.name == name_or_id)
    async with database.transaction() as connection:
        rows = (
            (await connection.execute(sa.select(tables.accounts).where(is_it, is_live)))
            .mappings()
            .all()
        )
    found = sorted(rows, key=lambda row: row["id"] != name_or_id)
    return open_row(found[0], secret) if found else None


async def add_account(  # noqa: PLR0913 - an account has that many parts
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
    """Add one account; raise CONFLICT when its name or its credential is another's."""
    draft = AccountDraft(
        upstream=upstream,
        api_key=api_key,
        name=name,
        pool=pool,
        base_url=base_url,
        options=options,
    )
    added = await add_accounts(database, secret, [draft])
    if added.duplicates:
        raise refuse_duplicate(added.duplicates[0].name)
    return added.accounts[0]


async def remove_account(database: Database, name: str) -> None:
    """Remove an account; raise NOT_FOUND when there is none of that name."""
    query = sa.select(_accounts.id).where(_accounts.name == name, is_live)
    async with database.transaction() as connection:
        account_id = await connection.scalar(query)
    if account_id is None or not await remove_accounts(database, [account_id]):
        message = f"There is no stored account named {name!r}. `groxy account list` shows them."
        raise GroxyError(ErrorKind.NOT_FOUND, message, code="account_not_found")


def digest_of_account(secret: InstallationSecret, given: AccountDraft | StoredAccount) -> bytes:
    """Return the digest of an account that is, or is to be."""
    return digest_of(
        secret, given.upstream, given.base_url, given.api_key, given.options, given.name
    )


def _digests(secret: InstallationSecret, drafts: Sequence[AccountDraft]) -> list[bytes]:
    return [digest_of_account(secret, draft) for draft in drafts]


def _drafted_all(
    drafts: Sequence[AccountDraft], made: Sequence[dict[str, Any]]
) -> list[StoredAccount]:
    """Return the accounts of drafts, with what was made for them."""
    names = [each.name for each in fields(AccountDraft)]
    return [
        StoredAccount(
            **{name: getattr(draft, name) for name in names}
            | {"options": dict(draft.options), "hint": hint_of(draft.api_key)}
            | more
        )
        for draft, more in zip(drafts, made, strict=True)
    ]


def _applied(
    before: Mapping[str, StoredAccount], changes: Sequence[AccountChange]
) -> dict[str, StoredAccount]:
    after = dict(before)
    for change in changes:
        if change.account_id not in after:
            raise not_found(change.account_id)
        after[change.account_id] = _changed(after[change.account_id], change)
    return after


def _changed(account: StoredAccount, change: AccountChange) -> StoredAccount:
    given = {each.name: getattr(change, each.name) for each in fields(change)}
    del given["account_id"]
    new = {name: value for name, value in given.items() if value is not None}
    if change.options is not None:
        new["options"] = dict(change.options)
    if change.api_key is not None:
        new["hint"] = hint_of(change.api_key)
    return replace(account, **new)


def _duplicates(
    digests: Sequence[bytes],
    new: Sequence[int],
    owners: Mapping[bytes, StoredAccount],
    known: Mapping[bytes, Known],
) -> list[Duplicate]:
    added = set(new)
    return [
        Duplicate(
            index=index,
            account_id=owners[digest].id if digest in owners else known[digest].id,
            name=owners[digest].name if digest in owners else known[digest].name,
        )
        for index, digest in enumerate(digests)
        if index not in added
    ]


async def _write_changes(
    connection: AsyncConnection,
    secret: InstallationSecret,
    before: Mapping[str, StoredAccount],
    after: Sequence[StoredAccount],
) -> None:
    """Write accounts that differ from before; those that swap names or credentials may."""
    renamed = {new.id: new.name for new in after if new.name != before[new.id].name}
    await free_names(connection, renamed)
    digests = await asyncio.to_thread(_moved, secret, before, after)
    await free_digests(connection, digests)
    rows = await asyncio.to_thread(rows_of, secret, after, [digests.get(new.id) for new in after])
    await update_rows(connection, rows)


def _moved(
    secret: InstallationSecret,
    before: Mapping[str, StoredAccount],
    after: Sequence[StoredAccount],
) -> dict[str, bytes]:
    """Return the new digests, by id, of accounts that are not who they were."""
    digests = {new.id: digest_of_account(secret, new) for new in after}
    return {
        name: digest
        for name, digest in digests.items()
        if digest != digest_of_account(secret, before[name])
    }


async def _refresh(connection: AsyncConnection, ids: Sequence[str], now_ms: int) -> None:
    """Give accounts that came back a fresh standing, which every process notices."""
    fresh = [
        StandingChange(
            account_id=name,
            status="active",
            reason="",
            since_ms=now_ms,
            until_ms=None,
            cleared_ms=now_ms,
            models=None,
            windows={},
            checked_ms=0,
            note="",
        )
        for name in ids
    ]
    await change_standings(connection, fresh)


async def _adopt(connection: AsyncConnection, secret: InstallationSecret) -> None:
    """Give accounts of an older Groxy their digest and hint; of two that are one, the older has it.

    Only whoever has the secret can, so no migration could.
    """
    query = sa.select(tables.accounts).where(_accounts.digest.is_(None), is_live)
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return
    old = await asyncio.to_thread(open_rows, rows, secret)
    digests = [digest_of_account(secret, each) for each in old]
    known = await known_digests(connection, digests)
    first = first_of_each(digests, known)
    removed = {old[index].id: digests[index] for index in first if digests[index] in known}
    await free_digests(connection, removed)
    written = await asyncio.to_thread(
        rows_of, secret, [old[index] for index in first], [digests[index] for index in first]
    )
    await update_rows(connection, written)
