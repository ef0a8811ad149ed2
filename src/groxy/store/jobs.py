"""Jobs that outlive the request which began them, such as films: durable, and worked on by one.

In: jobs, and who works on them. Out: the same, to their owner, and what is to be done to a worker.
Whoever works on a job holds its lease; when the lease is over, as after a crash, another takes the
job on. A job has ended when it has a `completed_ms`; which states there are is the worker's
business. Requests are sealed like credentials; everything else is plain. Times are unix
milliseconds, money is ticks.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database, storable
from groxy.store.ledger import Entry, Move, enter
from groxy.store.secrets import InstallationSecret

_MAX_ID_LENGTH = 64
_MAX_ERROR_CHARS = 4_000
_PURGE_ROWS = 200
"""A batch of this many rows is deleted soon enough for those who want to write meanwhile."""
_GIVEN = frozenset({"id", "kind", "owner", "created_ms", "request_id"})
"""What never changes of a job."""
_LEASE = frozenset({"lease_owner", "lease_until_ms"})
"""What only `take`, `take_over`, `renew` and `release` change."""

_jobs = tables.jobs.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands. `dataclasses.replace` makes the next state of it, `save` keeps that."""

    id: str
    """At most 64 printable ASCII characters, unique over all owners."""
    kind: str
    owner: str
    """The id of the key that began it."""
    status: str
    state: str = "{}"
    """JSON of the worker's own; no secrets, it is not sealed."""
    account_id: str = ""
    upstream_id: str = ""
    """What the upstream calls it; empty until it took it on."""
    progress: int = 0
    media_id: str = ""
    """What came of it, in `media`."""
    cost_ticks: int | None = None
    cost_source: str = ""
    error: str = ""
    created_ms: int
    updated_ms: int
    completed_ms: int | None = None
    lease_owner: str = ""
    lease_until_ms: int = 0
    expires_ms: int
    """When it is forgotten, if it has ended."""
    request_id: str = ""


class JobStore:
    """Keeps jobs. Raises STORE_DOWN when the database fails.

    A `holder` names whoever works: unique over all processes and starts of them.
    """

    def __init__(self, database: Database, secret: InstallationSecret) -> None:
        self._database = database
        self._secret = secret

    async def create(
        self,
        job: Job,
        request: bytes,
        entries: Sequence[Entry] = (),
        moves: Sequence[Move] = (),
    ) -> dict[str, tuple[int, int]]:
        """Keep a new job with its request; durable when this returns.

        `entries` and `moves` set aside what it may cost; they are in the books if and only if the
        job is there. Returns the balances that they moved.

        With a lease in it, its creator holds it at once. Raises ValueError for an impossible id,
        STORE_DOWN for one that is taken.
        """
        if not _is_id(job.id):
            raise ValueError("the id of a job is 1 to 64 printable ASCII characters")
        row = _row(job) | {"sealed": self._sealed(job, request)}
        async with self._database.transaction() as connection:
            await connection.execute(sa.insert(tables.jobs).values(row))
            return await enter(connection, entries, moves) if entries else {}

    async def find(self, id: str, owner: str) -> Job | None:  # noqa: A002 - its name
        """Return a job; None when this owner has none of that id."""
        if not _is_id(id):
            return None
        query = sa.select(*_COLUMNS).where(_jobs.id == id, *_visible(owner))
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Job(**row)

    async def request(self, job: Job) -> bytes:
        """Return the request of a job; it may be large. Raises NOT_FOUND when the job is gone."""
        query = sa.select(_jobs.sealed).where(_jobs.id == job.id, _jobs.owner == job.owner)
        async with self._database.transaction() as connection:
            sealed = await connection.scalar(query)
        if sealed is None:
            raise GroxyError(ErrorKind.NOT_FOUND, "The job is gone: it was deleted or has expired.")
        return self._secret.open(sealed, owner=f"{job.id}:{job.owner}")

    async def of_owner(
        self, owner: str, *, kind: str, after: str = "", limit: int, newest_first: bool = True
    ) -> list[Job] | None:
        """Return jobs of an owner, behind the one named `after`; None if that is not there."""
        query = sa.select(*_COLUMNS).where(_jobs.kind == kind, *_visible(owner)).limit(limit)
        place = (_jobs.created_ms, _jobs.id)
        query = query.order_by(*(one.desc() if newest_first else one for one in place))
        if after:
            last = await self.find(after, owner)
            if last is None:
                return None
            here, there = sa.tuple_(*place), sa.tuple_(last.created_ms, last.id)
            query = query.where(here < there if newest_first else here > there)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [Job(**row) for row in rows]

    async def take(
        self, holder: str, *, lease_ms: int, limit: int, kinds: Collection[str]
    ) -> list[Job]:
        """Take on jobs that have not ended and that nobody holds, oldest first, for `lease_ms`.

        Expired ones too: what the books hold for them has to be given back. Of several who take at
        once, each gets others.
        """
        now_ms = _now_ms()
        due = (
            sa.select(_jobs.id)
            .where(
                _jobs.completed_ms.is_(None),
                _jobs.lease_until_ms <= now_ms,
                _jobs.kind.in_(list(kinds)),
            )
            .order_by(_jobs.created_ms, _jobs.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        query = (
            sa.update(tables.jobs)
            .where(_jobs.id.in_(sa.select(due.c.id)))
            .values(lease_owner=holder, lease_until_ms=now_ms + lease_ms)
            .returning(*_COLUMNS)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return sorted((Job(**row) for row in rows), key=lambda job: (job.created_ms, job.id))

    async def take_over(
        self,
        id: str,  # noqa: A002 - its name
        owner: str,
        holder: str,
        *,
        lease_ms: int,
        unless: Collection[str] = (),
    ) -> Job | None:
        """Take on one job that has not ended, whoever holds it: to cancel it, say.

        Its former holder notices when it next renews or saves. None when there is no such job, or
        it has ended, or its status is one of `unless`.
        """
        if not _is_id(id):
            return None
        query = (
            sa.update(tables.jobs)
            .where(_jobs.id == id, _jobs.completed_ms.is_(None), *_visible(owner))
            .where(_jobs.status.not_in(unless))
            .values(lease_owner=holder, lease_until_ms=_now_ms() + lease_ms)
            .returning(*_COLUMNS)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Job(**row)

    async def renew(self, ids: Collection[str], holder: str, *, lease_ms: int) -> frozenset[str]:
        """Hold jobs for another `lease_ms`; return the ids of those that are still held."""
        return await self._lease(ids, holder, _now_ms() + lease_ms)

    async def release(self, ids: Collection[str], holder: str, *, until_ms: int = 0) -> None:
        """Let go of jobs; others can take them from `until_ms` on."""
        await self._lease(ids, holder, until_ms, new_holder="")

    async def save(self, job: Job, holder: str, *, request: bytes | None = None) -> bool:
        """Keep a job's new state; False, and nothing is kept, when `holder` has lost the lease.

        With `request` that takes the place of the old one: b"" frees its space.
        """
        values = {name: value for name, value in _row(job).items() if name not in _GIVEN | _LEASE}
        if request is not None:
            values["sealed"] = self._sealed(job, request)
        query = (
            sa.update(tables.jobs)
            .where(_jobs.id == job.id, _jobs.owner == job.owner, _jobs.lease_owner == holder)
            .values(values)
        )
        return await self._changed(query) == 1

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002 - its name
        """Forget a job, ended or not; return whether this owner had it."""
        if not _is_id(id):
            return False
        return (
            await self._changed(sa.delete(tables.jobs).where(_jobs.id == id, *_visible(owner))) == 1
        )

    async def purge(self, now_ms: int) -> int:
        """Delete what has ended and expired, a batch at a time; return how much that was."""
        # Processes that purge at once pass over each other's rows instead of waiting for them.
        expired = (
            sa.select(_jobs.id)
            .where(_jobs.expires_ms <= now_ms, _jobs.completed_ms.is_not(None))
            .limit(_PURGE_ROWS)
            .with_for_update(skip_locked=True)
            .cte("expired")
        )
        ids = sa.select(expired.c.id)
        query = sa.delete(tables.jobs).where(_jobs.id.in_(ids)).returning(_jobs.id)
        purged = 0
        while True:
            # SQLite's driver does not count the rows of a statement that begins with WITH.
            async with self._database.transaction() as connection:
                count = len((await connection.scalars(query)).all())
            purged += count
            if not count:
                return purged

    async def _lease(
        self, ids: Collection[str], holder: str, until_ms: int, *, new_holder: str | None = None
    ) -> frozenset[str]:
        if not ids:
            return frozenset()
        new_holder = holder if new_holder is None else new_holder
        query = (
            sa.update(tables.jobs)
            .where(_jobs.id.in_(list(ids)), _jobs.lease_owner == holder)
            .values(lease_owner=new_holder, lease_until_ms=until_ms)
            .returning(_jobs.id)
        )
        async with self._database.transaction() as connection:
            return frozenset(await connection.scalars(query))

    async def _changed(self, query: sa.Update | sa.Delete) -> int:
        async with self._database.transaction() as connection:
            return (await connection.execute(query)).rowcount

    def _sealed(self, job: Job, request: bytes) -> bytes:
        return self._secret.seal(request, owner=f"{job.id}:{job.owner}")


_NAMES = tuple(field.name for field in fields(Job))
_COLUMNS = tuple(_jobs[name] for name in _NAMES)
"""All but the request, which may have megabytes."""


def _row(job: Job) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(job, name) for name in _NAMES}
    return row | {"error": storable(job.error, _MAX_ERROR_CHARS)}


def _visible(owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for what an owner may see now."""
    return _jobs.owner == owner, _jobs.expires_ms > _now_ms()


def _is_id(name: str) -> bool:
    """Return whether an id, which callers choose freely when they ask, can be one of ours."""
    return 0 < len(name) <= _MAX_ID_LENGTH and name.isascii() and name.isprintable()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
