"""Rotation: a new sealing key, and everything that is stored sealed anew with it.

In: an open database and the installation's secret. Out: how much was done, and what was not. A
rotation may be broken off at any moment and started again: a row is changed only if it still
holds what was read, and old keys stay until somebody forgets them. Gateways serve meanwhile, so
rows that a transaction of theirs holds are left for later, and never waited for.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.sealing_keys import SealingKeys
from groxy.store.secrets import DERIVED_MARK, MARK_BYTES, ROTATED_MARK, InstallationSecret

SETTLE_S = 2.0
"""Gateways notice a new key within a second; then what they seal with the old one is committed."""
FORGET_AFTER_S = 15.0
"""Longer than a gateway may take from sealing something to the end of its transaction."""
_CHUNK_ROWS = 32
"""Kept replies may have megabytes, and they are all in memory at once."""
_WINDOW_ROWS = 500
_PASSES = 5
_BETWEEN_PASSES_S = 0.5
_SAMPLE_ROWS = 20

Report = Callable[[int, int], None]
"""Is told how many rows are done, and of how many."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A table with sealed rows: their id, and what else the name of their owner is made of."""

    table: sa.Table
    id: sa.Column[str]
    more: sa.Column[str] | None = None

    @property
    def sealed(self) -> sa.Column[bytes]:
        return self.table.c.sealed

    @property
    def mark(self) -> sa.Function[bytes]:
        """The first bytes, which say the key."""
        return sa.func.substr(self.sealed, 1, MARK_BYTES, type_=sa.LargeBinary)

    def rows(self) -> sa.Select[str, str, bytes]:
        """Query ids, owners as `seal` was told them, and sealed contents."""
        owner = self.id if self.more is None else self.id + ":" + self.more
        return sa.select(self.id, owner.label("owner"), self.sealed)


_TABLES = (
    _Sealed(tables.accounts, tables.accounts.c.id),
    _Sealed(tables.kept, tables.kept.c.id, tables.kept.c.owner),
    _Sealed(tables.overrides, tables.overrides.c.name),
    _Sealed(tables.jobs, tables.jobs.c.id, tables.jobs.c.owner),
)


@dataclass(slots=True, kw_only=True)
class Rotation:
    """What a rotation did."""

    key: str
    """The name of the key that it sealed with."""
    is_resumed: bool
    """True when it went on with the key of a rotation that was broken off."""
    resealed: dict[str, int]
    """Rows by table; every table with sealed rows is there."""
    unreadable: list[str] = field(default_factory=list)
    """Rows, as "table id", that do not open and were left as they are."""
    left: int = 0
    """Rows that others held to the end, or still sealed anew; then the rotation is unfinished."""


@dataclass(frozen=True, slots=True)
class Uses:
    """How many rows one key sealed."""

    key: str
    """Its name, or "" for the key derived from the secret."""
    is_known: bool
    """False when `sealing.keys` lacks it: these rows do not open."""
    rows: Mapping[str, int]
    """By table; every table with sealed rows is there."""


async def rotate(
    database: Database,
    secret: InstallationSecret,
    *,
    report: Report = lambda _done, _total: None,
    settle_s: float = SETTLE_S,
) -> Rotation:
    """Make a new sealing key, or go on with one whose rotation was broken off; reseal all rows.

    Raises CONFLICT while another rotation runs on the data folder, and STORE_DOWN when the
    database fails or when nothing opens, so that a wrong secret changes nothing.
    """
    with _keys_of(secret).changing() as keys:
        await _check(database, secret)
        is_resumed = keys.is_unfinished
        key = keys.newest if is_resumed else None
        key = key or keys.add()
        settled_at = time.monotonic() + settle_s
        rotation = Rotation(key=key.name, is_resumed=is_resumed, resealed=_no_rows())
        await _Resealing(database, secret, rotation, report).run(settled_at)
        if not rotation.left:
            keys.finish()
    return rotation


async def key_uses(database: Database, secret: InstallationSecret) -> list[Uses]:
    """Return how many rows are sealed with which key, oldest first; unknown keys come last."""
    known = [b"", *_keys_of(secret).ids]
    counts: dict[bytes, dict[str, int]] = {key_id: _no_rows() for key_id in known}
    for sealed in _TABLES:
        async for window in _windows(database, sealed):
            for _, key_id in window:
                by_table = counts.setdefault(key_id, _no_rows())
                by_table[sealed.table.name] += 1
    return [Uses(key_id.hex(), key_id in known, counts[key_id]) for key_id in counts]


async def forget_unused(
    database: Database, secret: InstallationSecret, *, settle_s: float = FORGET_AFTER_S
) -> list[str]:
    """Drop from the file every key but the newest that no row is sealed with; return their names.

    It waits until the file is `settle_s` old: gateways that run have seen it then, and have
    committed what they sealed before. Raises CONFLICT while spooled entries of a gateway wait for
    the database, which may be sealed with any key.
    """
    with _keys_of(secret).changing() as keys:
        if len(keys.ids) <= 1:
            return []
        await asyncio.sleep(max(0.0, settle_s - keys.age_s()))
        _check_spool(keys)
        used = {uses.key for uses in await key_uses(database, secret) if any(uses.rows.values())}
        unused = [key_id for key_id in keys.ids[:-1] if key_id.hex() not in used]
        if unused:
            keys.drop(unused)
    return [key_id.hex() for key_id in unused]


# ------------------------------------------------------------------------------------- one run


class _Resealing:
    """Seals rows anew, pass after pass, until none is left that another key sealed."""

    def __init__(
        self, database: Database, secret: InstallationSecret, rotation: Rotation, report: Report
    ) -> None:
        self._database = database
        self._secret = secret
        self._key = bytes.fromhex(rotation.key)
        self._rotation = rotation
        self._report = report
        self._total = 0

    async def run(self, settled_at: float) -> None:
        """Reseal all rows, among them those that gateways wrote until `settled_at`."""
        rotation = self._rotation
        self._total = await self._count()
        self._report(0, self._total)
        for _ in range(_PASSES):
            is_settled = time.monotonic() >= settled_at
            rotation.unreadable.clear()
            found = 0
            for sealed in _TABLES:
                found += await self._pass(sealed)
            rotation.left = found - len(rotation.unreadable)
            if is_settled and not rotation.left:
                return
            await asyncio.sleep(max(_BETWEEN_PASSES_S, settled_at - time.monotonic()))

    async def _count(self) -> int:
        """Return how many rows other keys sealed."""
        count = 0
        for sealed in _TABLES:
            async for window in _windows(self._database, sealed):
                count += sum(key_id != self._key for _, key_id in window)
        return count

    async def _pass(self, sealed: _Sealed) -> int:
        """Reseal the rows of a table that can be had now; return how many others there were."""
        found = 0
        async for window in _windows(self._database, sealed):
            names = [name for name, key_id in window if key_id != self._key]
            found += len(names)
            for start in range(0, len(names), _CHUNK_ROWS):
                began = time.monotonic()
                changed = await self._chunk(sealed, names[start : start + _CHUNK_ROWS])
                self._rotation.resealed[sealed.table.name] += changed
                done = sum(self._rotation.resealed.values())
                self._total = max(self._total, done)
                self._report(done, self._total)
                # The database is the gateways' for as long as it was ours.
                await asyncio.sleep(time.monotonic() - began)
        return found

    async def _chunk(self, sealed: _Sealed, names: Sequence[str]) -> int:
        """Reseal these rows in one transaction, but for those that others hold."""
        async with self._database.transaction() as connection:
            # Whoever waits for no lock can be part of no deadlock.
            query = sealed.rows().where(sealed.id.in_(names)).with_for_update(skip_locked=True)
            changes: list[dict[str, object]] = []
            for name, owner, old in (await connection.execute(query)).all():
                new = self._resealed(f"{sealed.table.name} {name}", owner, old)
                if new is not None:
                    changes.append({"row_id": name, "row_old": old, "row_new": new})
            return await _exchange(connection, sealed, changes) if changes else 0

    def _resealed(self, row: str, owner: str, old: bytes) -> bytes | None:
        """Return a row's content sealed anew, or None when it does not open."""
        try:
            plain = self._secret.open(old, owner=owner)
        except GroxyError:
            self._rotation.unreadable.append(row)
            return None
        return self._secret.seal(plain, owner=owner)


async def _exchange(
    connection: AsyncConnection, sealed: _Sealed, changes: list[dict[str, object]]
) -> int:
    """Put new contents in the place of the old, and of no others; return how many that were."""
    query = (
        sa.update(sealed.table)
        .where(sealed.id == sa.bindparam("row_id"), sealed.sealed == sa.bindparam("row_old"))
        .values(sealed=sa.bindparam("row_new"))
    )
    # asyncpg counts no rows of several changes, but there the rows are locked: all are changed.
    count = (await connection.execute(query, changes)).rowcount
    return len(changes) if count < 0 else count


# ------------------------------------------------------------------------------------- looking


def _no_rows() -> dict[str, int]:
    return {sealed.table.name: 0 for sealed in _TABLES}


def _keys_of(secret: InstallationSecret) -> SealingKeys:
    if secret.sealing_keys is None:
        message = "a secret without a data folder has no keys to rotate"
        raise ValueError(message)
    return secret.sealing_keys


async def _check(database: Database, secret: InstallationSecret) -> None:
    """Raise STORE_DOWN when rows are there and none of the first ones opens."""
    error = None
    for sealed in _TABLES:
        query = sealed.rows().order_by(sealed.id).limit(_SAMPLE_ROWS)
        async with database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        for _, owner, content in rows:
            try:
                secret.open(content, owner=owner)
            except GroxyError as caught:
                error = caught
            else:
                return
    if error is not None:
        raise error


async def _windows(database: Database, sealed: _Sealed) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Yield every row's id, and the id of its key (b"" for the derived one), many at a time.

    Each window is a transaction of its own: a table may take longer than any may last.
    """
    first = sa.select(sealed.id, sealed.mark).order_by(sealed.id).limit(_WINDOW_ROWS)
    query = first
    while True:
        async with database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        yield [(name, _key_of(bytes(mark))) for name, mark in rows]
        if len(rows) < _WINDOW_ROWS:
            return
        query = first.where(sealed.id > rows[-1][0])


def _key_of(mark: bytes) -> bytes:
    # Behind the first form's mark come random bytes, which are no key's.
    return b"" if mark.startswith(DERIVED_MARK) else mark[len(ROTATED_MARK) :]


def _check_spool(keys: SealingKeys) -> None:
    spooled = sorted(path.name for path in keys.data_dir.glob("spool-*"))
    if spooled:
        message = (
            f"Entries that wait for the database are in {', '.join(spooled)} in the data folder, "
            "and may be sealed with an old key. Let the gateway write them, then try again."
        )
        raise GroxyError(ErrorKind.CONFLICT, message)
