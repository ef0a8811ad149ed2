"""What keys have spent: sums of the counts of days, of many keys at once.

In: ids of keys, and a moment. Out: ticks that callers were charged, on the day, in the week (from
Monday) and the month of that moment, UTC, and in all. It changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database, chunks

_days = tables.usage_days.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one key has spent, in ticks."""

    day: int = 0
    week: int = 0
    month: int = 0
    total: int = 0


NOTHING = Spent()


async def spent_of(database: Database, key_ids: Sequence[str], now_ms: int) -> dict[str, Spent]:
    """Return what each key has spent, by id; those that spent nothing yet are among them."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    starts = (today, today - timedelta(days=today.weekday()), today.replace(day=1))
    sums = [
        sa.func.sum(sa.case((_days.day >= _number(start), _days.charge_ticks), else_=0))
        for start in starts
    ]
    found = dict.fromkeys(key_ids, NOTHING)
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        for part in chunks(key_ids):
            query = sa.select(_days.key_id, *sums, sa.func.sum(_days.charge_ticks))
            query = query.where(_days.key_id.in_(part)).group_by(_days.key_id)
            for key_id, *ticks in await connection.execute(query):
                # PostgreSQL sums integers as decimals.
                day, week, month, total = map(int, ticks)
                found[key_id] = Spent(day=day, week=week, month=month, total=total)
    return found


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
