"""Retention: forgetting single requests that are older, or more, than the operator keeps.

In: how much is kept. Out: nothing but fewer rows. Rows go oldest first, in small batches with
pauses, so that who writes meanwhile waits some milliseconds at most (docs/decisions/0017). Lines of
money, balances and sums of days must never go: they are the books.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.counts import day_of
from groxy.store.database import Database
from groxy.store.entries import request_id_at

BATCH_ROWS = 100
"""Requests that go at once, with their attempts: two milliseconds of work."""
PAUSE_S = 0.04
"""Between two batches, at least: others find the database free most of the time."""
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_MB = 1_000_000
_ALWAYS_KEPT_MS = _HOUR_MS
"""What is younger stays, however much it is: it may still be written again (`replay`), or be on its
way to whoever asked for it."""
_SAMPLE_ROWS = 200
_ROW_BYTES = {"requests": 190, "attempts": 130}
"""What a row takes beside its texts, on average of both databases, pages' unused parts included."""
_ASK_EVERY = 20

_requests, _attempts, _audit = tables.requests.c, tables.attempts.c, tables.audit.c
_hours, _days = tables.model_hours.c, tables.usage_days.c


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRules:
    """How much is kept; 0 is all of it."""

    request_days: int = 0
    request_max_mb: int = 0
    """Of requests and their attempts together, by estimate."""
    audit_days: int = 0
    statistics_days: int = 0
    """Of the hourly histograms of models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows went."""

    requests: int = 0
    attempts: int = 0
    audit: int = 0
    hours: int = 0

    @property
    def is_any(self) -> bool:
        """True when something went."""
        return bool(self.requests or self.attempts or self.audit or self.hours)


async def _always() -> bool:
    return True


class Pruner:
    """Prunes one database, once. `goes_on` is asked now and then; False ends the work."""

    def __init__(
        self,
        database: Database,
        *,
        goes_on: Callable[[], Awaitable[bool]] = _always,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._database = database
        self._goes_on = goes_on
        self._pause_s = pause_s
        self._batches = 0
        self._may = True

    async def prune(self, rules: RetentionRules, now_ms: int) -> Pruned:
        """Delete what is not kept any more; may take long, and can be broken off at any time.

        Raises STORE_DOWN; what went by then is gone.
        """
        before = await cutoff_ms(self._database, rules, now_ms)
        requests = attempts = audit = hours = 0
        if before > 0:
            requests, attempts = await self._requests(request_id_at(before))
        if rules.audit_days:
            oldest_us = (now_ms - rules.audit_days * _DAY_MS) * 1000
            audit = await self._rows(tables.audit, _audit.id, f"aud_{max(oldest_us, 0):014x}")
        if rules.statistics_days:
            first_hour = (now_ms - rules.statistics_days * _DAY_MS) // _HOUR_MS
            hours = await self._hours(first_hour)
        return Pruned(requests=requests, attempts=attempts, audit=audit, hours=hours)

    async def _requests(self, before: str) -> tuple[int, int]:
        """Delete requests and attempts whose ids are before this one; return how many of each.

        An attempt goes with its request, in one transaction. Attempts without a request, which a
        broken import may have left, go at the end.
        """
        requests = attempts = 0
        after = ""
        while await self._may_go_on():
            last = await self._last_of_batch(_requests.id, after, before)
            if last is None:
                break
            one, more = await self._delete(
                sa.delete(tables.requests).where(*_between(_requests.id, after, last)),
                sa.delete(tables.attempts).where(*_between(_attempts.request_id, after, last)),
            )
            requests, attempts, after = requests + one, attempts + more, last
        attempts += await self._rows(tables.attempts, _attempts.request_id, before)
        return requests, attempts

    async def _rows(self, table: sa.Table, column: sa.Column[str], before: str) -> int:
        """Delete rows of a table whose ids are before this one; return how many."""
        gone, after = 0, ""
        while await self._may_go_on():
            last = await self._last_of_batch(column, after, before)
            if last is None:
                break
            (deleted,) = await self._delete(sa.delete(table).where(*_between(column, after, last)))
            gone, after = gone + deleted, last
        return gone

    async def _hours(self, first_hour: int) -> int:
        gone = 0
        while await self._may_go_on():
            async with self._database.transaction() as connection:
                oldest = await connection.scalar(sa.select(sa.func.min(_hours.hour)))
            if oldest is None or oldest >= first_hour:
                break
            # A batch is a model's hour: some hundred rows.
            one = _hours.hour == oldest
            async with self._database.transaction() as connection:
                model = await connection.scalar(sa.select(sa.func.min(_hours.model)).where(one))
            (deleted,) = await self._delete(
                sa.delete(tables.model_hours).where(one, _hours.model == model)
            )
            gone += deleted
        return gone

    async def _last_of_batch(self, column: sa.Column[str], after: str, before: str) -> str | None:
        """Return the last id of the oldest rows between two ids; None without any.

        It is looked for in a transaction of its own: SQLite lets nobody write who has read
        something older.
        """
        oldest = sa.select(column).where(column > after, column < before).order_by(column)
        batch = oldest.limit(BATCH_ROWS).subquery()
        async with self._database.transaction() as connection:
            last: str | None = await connection.scalar(sa.select(sa.func.max(batch.c[column.name])))
        return last

    async def _delete(self, *statements: sa.Delete) -> list[int]:
        """Run deletions in one transaction, then pause; return how many rows each deleted."""
        began = time.perf_counter()
        async with self._database.transaction() as connection:
            counts = [(await connection.execute(one)).rowcount for one in statements]
        # Never busy for more than a fifth of the time, however slow the disk is.
        await asyncio.sleep(max(self._pause_s, 4 * (time.perf_counter() - began)))
        return counts

    async def _may_go_on(self) -> bool:
        self._batches += 1
        if self._may and self._batches % _ASK_EVERY == 1:
            self._may = await self._goes_on()
        return self._may


def _between(column: sa.Column[str], after: str, last: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition for a batch.

    It has two ends, although nothing is before it any more: PostgreSQL would walk over all that was
    deleted and not yet vacuumed, and read the whole table where it has no statistics (of 100,000
    rows each batch took half a second; now 10 ms).
    """
    return column > after, column <= last


async def oldest_request_id(database: Database) -> str | None:
    """Return the id of the oldest request that is still there; None when there is none."""
    async with database.transaction() as connection:
        found: str | None = await connection.scalar(sa.select(sa.func.min(_requests.id)))
    return found


async def cutoff_ms(database: Database, rules: RetentionRules, now_ms: int) -> int:
    """Return the moment before which requests are to go; 0 when all are kept."""
    by_age = now_ms - rules.request_days * _DAY_MS if rules.request_days else 0
    by_size = await _cutoff_by_size(database, rules, now_ms) if rules.request_max_mb else 0
    return min(max(by_age, by_size, 0), now_ms - _ALWAYS_KEPT_MS)


async def _cutoff_by_size(database: Database, rules: RetentionRules, now_ms: int) -> int:
    """Return the moment from which on requests take no more than they may, by estimate; else 0.

    The sums of days tell how many requests there were, without counting rows; within the day that
    does not fit as a whole they are taken to have come evenly.
    """
    room = rules.request_max_mb * _MB / await _bytes_of_one(database)
    day_ms = now_ms - now_ms % _DAY_MS
    ends_ms = now_ms
    counts = await _requests_of_days(database)
    while counts:
        number = counts.pop(day_of(day_ms), 0)
        if number > room:
            return round(ends_ms - (ends_ms - day_ms) * room / number)
        room -= number
        ends_ms, day_ms = day_ms, day_ms - _DAY_MS
        if day_ms < 0:
            break
    return 0


async def _requests_of_days(database: Database) -> dict[int, int]:
    """Return how many requests each day had, from the oldest on whose requests are still there."""
    async with database.transaction() as connection:
        oldest_ms = await connection.scalar(
            sa.select(_requests.at_ms).order_by(_requests.id).limit(1)
        )
        if oldest_ms is None:
            return {}
        query = (
            sa.select(_days.day, sa.func.sum(_days.requests))
            .where(_days.day >= day_of(oldest_ms))
            .group_by(_days.day)
        )
        return {day: int(number) for day, number in await connection.execute(query)}


async def _bytes_of_one(database: Database) -> float:
    """Return what a request takes with its attempts, by the newest ones."""
    newest = sa.select(tables.requests).order_by(_requests.id.desc()).limit(_SAMPLE_ROWS)
    tried = sa.select(tables.attempts).order_by(_attempts.request_id.desc()).limit(_SAMPLE_ROWS)
    async with database.transaction() as connection:
        requests = (await connection.execute(newest)).all()
        attempts = (await connection.execute(tried)).all()
    each = sum(row.attempts for row in requests) / len(requests) if requests else 0.0
    return _mean_bytes("requests", requests) + each * _mean_bytes("attempts", attempts)


def _mean_bytes(table: str, rows: Sequence[Sequence[object]]) -> float:
    """Return what a row of a table takes on average."""
    held = sum(_held_bytes(value) for row in rows for value in row)
    return _ROW_BYTES[table] + (held / len(rows) if rows else 0.0)


def _held_bytes(value: object) -> int:
    if isinstance(value, bytes):
        return len(value)
    return len(value.encode()) if isinstance(value, str) else 0
