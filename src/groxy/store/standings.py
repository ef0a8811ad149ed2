"""How accounts stand, and what they did: of accounts in the store and in settings alike.

In: changes of standings, counts of uses. Out: both by account, and what changed since a revision.
It decides nothing: which standing follows from what is routing's business. Times are unix
milliseconds, money is ticks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.quota import QuotaWindow
from groxy.store import tables
from groxy.store.database import (
    BULK_TIMEOUT_S,
    CHUNK_ROWS,
    Database,
    bump,
    chunks,
    revision_of,
    storable,
)

STANDINGS = "standings"
"""The revision name of this table."""
_MAX_WORDS = 64
"""How long a reason or an error can be; the rest is cut off."""
_MAX_NOTE = 2_000

_standings = tables.standings.c
_tallies = tables.tallies.c
_windows = msgspec.json.Decoder(dict[str, QuotaWindow])
_models = msgspec.json.Decoder(tuple[str, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one account stands."""

    account_id: str
    status: str = "active"
    """`active`, `cooling`, `expired` or `disabled`."""
    reason: str = ""
    since_ms: int = 0
    until_ms: int | None = None
    """When a cooling one is active again; None for not until it was refreshed."""
    cleared_ms: int = 0
    """When the operator last cleared its cool-downs; what began before is void."""
    models: tuple[str, ...] | None = None
    """What its upstream lists; None when that is not known."""
    windows: Mapping[str, QuotaWindow] = field(default_factory=dict)
    """Quota by mode."""
    checked_ms: int = 0
    """When it was last refreshed."""
    note: str = ""
    """What the newest refresh said; safe for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingChange:
    """New values of the fields that are set; the others stay."""

    account_id: str
    status: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    since_ms: int | UnsetType = UNSET
    until_ms: int | UnsetType | None = UNSET
    cleared_ms: int | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    windows: Mapping[str, QuotaWindow] | UnsetType = UNSET
    checked_ms: int | UnsetType = UNSET
    note: str | UnsetType = UNSET
    was: tuple[str, str] | UnsetType = UNSET
    """The status and reason that it was decided upon; left out where these are others by now."""


class Written(NamedTuple):
    """What became of some changes."""

    revision: int
    """The new one; 0 when there was nothing to write."""
    left_out: Sequence[Standing] = ()
    """How the accounts stand instead whose changes were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What an account did, all told, or since the last time that was said."""

    account_id: str
    uses: int = 0
    failures: int = 0
    tokens: int = 0
    cost_ticks: int = 0
    last_used_ms: int = 0
    last_failed_ms: int = 0
    last_error: str = ""


async def write_standings(database: Database, changes: Sequence[StandingChange]) -> Written:
    """Change standings, all or none; an account that has none yet starts as active.

    A later change of the same account counts after an earlier one. Left out are those of accounts
    that stand otherwise than was thought (`was`): somebody else was first.
    """
    if not changes:
        return Written(0)
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        return await change_standings(connection, changes)


async def change_standings(
    connection: AsyncConnection, changes: Sequence[StandingChange]
) -> Written:
    """Do what `write_standings` does, inside a transaction that has not written standings yet."""
    revision = await bump(connection, STANDINGS)
    by_account: dict[str, list[StandingChange]] = {}
    for change in changes:
        by_account.setdefault(change.account_id, []).append(change)
    left_out: list[Standing] = []
    for part in chunks(list(by_account)):
        query = sa.select(tables.standings).where(_standings.account_id.in_(part))
        found = (await connection.execute(query)).mappings()
        rows = {row["account_id"]: dict(row) for row in found}
        changed = []
        for name in part:
            row = rows.get(name) or _row(Standing(account_id=name))
            done = 0
            for change in by_account[name]:
                if _stands_so(row, change.was):
                    row |= _row(change)
                    done += 1
            if done:
                changed.append(row | {"revision": revision})
            if done < len(by_account[name]):
                left_out.append(_standing(row))
        if changed:
            await connection.execute(_UPSERT_STANDING, changed)
    return Written(revision, left_out)


async def standings_since(database: Database, revision: int) -> tuple[int, list[Standing]]:
    """Return the present revision and the standings that changed after `revision`; 0 for all.

    A revision that lies ahead, as after the restoration of a backup, gives all as well.
    """
    found: list[Standing] = []
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        now = await revision_of(connection, STANDINGS)
        after = (revision if revision <= now else 0, "￿")
        while True:
            rows = (await connection.execute(_since(after))).mappings().all()
            found += [_standing(row) for row in rows]
            if len(rows) < CHUNK_ROWS:
                return now, found
            after = (rows[-1]["revision"], rows[-1]["account_id"])


async def forget_standings(database: Database, ids: Sequence[str]) -> None:
    """Forget how accounts stood and what they did; nobody is told, for they are gone."""
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        await delete_standings(connection, ids)


async def delete_standings(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Do what `forget_standings` does, inside a transaction."""
    for part in chunks(sorted(ids)):
        for table in (tables.standings, tables.tallies):
            await connection.execute(sa.delete(table).where(table.c.account_id.in_(part)))


async def add_tallies(database: Database, tallies: Sequence[Tally]) -> None:
    """Add counts to those of the accounts, all or none; of two times the newer one stays."""
    # In one order, so that two processes never wait for each other's rows.
    ordered = sorted(tallies, key=lambda tally: tally.account_id)
    rows = [_tally_row(tally) for tally in ordered]
    if not rows:
        return
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        for part in chunks(rows):
            await connection.execute(_ADD_TALLY, list(part))


async def tallies_of(database: Database, ids: Sequence[str]) -> dict[str, Tally]:
    """Return the counts of those of the accounts that have any, by id."""
    found: dict[str, Tally] = {}
    async with database.transaction() as connection:
        for part in chunks(ids):
            query = sa.select(tables.tallies).where(_tallies.account_id.in_(part))
            rows = (await connection.execute(query)).mappings()
            found |= {row["account_id"]: Tally(**row) for row in rows}
    return found


def _since(after: tuple[int, str]) -> sa.Select[tuple[object, ...]]:
    """Return the query for the next rows; those that change meanwhile move to the end, unmissed."""
    return (
        sa.select(tables.standings)
        .where(sa.tuple_(_standings.revision, _standings.account_id) > after)
        .order_by(_standings.revision, _standings.account_id)
        .limit(CHUNK_ROWS)
    )


def _stands_so(row: Mapping[str, Any], was: tuple[str, str] | UnsetType) -> bool:
    """Return whether an account stands as was thought, if that matters."""
    if was is UNSET:
        return True
    status, reason = was
    return (row["status"], row["reason"]) == (status, storable(reason, _MAX_WORDS))


def _row(given: Standing | StandingChange) -> dict[str, Any]:
    """Return the columns of the fields that are set."""
    row = {each.name: getattr(given, each.name) for each in fields(given) if each.name != "was"}
    row = {name: value for name, value in row.items() if value is not UNSET}
    if row.get("models") is not None:
        row["models"] = msgspec.json.encode(row["models"]).decode()
    if "windows" in row:
        row["windows"] = msgspec.json.encode(row["windows"]).decode()
    for name, length in (("reason", _MAX_WORDS), ("note", _MAX_NOTE)):
        if name in row:
            row[name] = storable(row[name], length)
    return row


def _standing(row: Mapping[Any, Any]) -> Standing:
    models = None if row["models"] is None else _models.decode(row["models"])
    given = {each.name: row[each.name] for each in fields(Standing)}
    return Standing(**given | {"models": models, "windows": _windows.decode(row["windows"])})


def _tally_row(tally: Tally) -> dict[str, Any]:
    row = {each.name: getattr(tally, each.name) for each in fields(tally)}
    return row | {"last_error": storable(tally.last_error, _MAX_WORDS)}


def _upsert(table: sa.Table, changes: Mapping[str, str]) -> sa.TextClause:
    """Return an INSERT that changes a row which is there; both databases say it alike."""
    names = [column.name for column in table.columns]
    key = table.primary_key.columns[0].name
    settings = ", ".join(f"{name} = {value}" for name, value in changes.items())
    places = ", ".join(f":{name}" for name in names)
    text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - names of ours
    types = [sa.bindparam(column.name, type_=column.type) for column in table.columns]
    return sa.text(f"{text} ON CONFLICT ({key}) DO UPDATE SET {settings}").bindparams(*types)


_UPSERT_STANDING = _upsert(
    tables.standings,
    {
        column.name: f"excluded.{column.name}"
        for column in tables.standings.columns
        if not column.primary_key
    },
)
_ADD_TALLY = _upsert(
    tables.tallies,
    {
        **{
            name: f"tallies.{name} + excluded.{name}"
            for name in ("uses", "failures", "tokens", "cost_ticks")
        },
        "last_error": (
            "CASE WHEN excluded.last_failed_ms >= tallies.last_failed_ms AND "
            "excluded.last_error <> '' THEN excluded.last_error ELSE tallies.last_error END"
        ),
        **{
            name: f"CASE WHEN excluded.{name} > tallies.{name} "
            f"THEN excluded.{name} ELSE tallies.{name} END"
            for name in ("last_used_ms", "last_failed_ms")
        },
    },
)
