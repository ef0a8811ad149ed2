"""Usage: what the days and hours that the books add up to (`counts`) come to, as sums.

In: days, filters, and by what to add up. Out: rows of sums, in pages. Must not look at single
requests: those are deleted after a while, their sums are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.counts import DAY_KEYS, DAY_SUMS
from groxy.store.database import Database

GROUPS = {"day": "day", "user": "user_id", "key": "key_id", "model": "model", "app": "app"}
"""By what usage can be added up, and the column that has it."""
MAX_ROWS = 10_000
_TIMEOUT_S = 30.0
_SORTED_UP_TO = DAY_KEYS.index("key_id")
"""The last column of the primary key by which adding up in the table's own order makes less."""

_days, _hours = tables.usage_days.c, tables.model_hours.c


class Sums(NamedTuple):
    """What requests add up to, in the order of `counts.DAY_SUMS`."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_ticks: int = 0
    charge_ticks: int = 0
    duration_us: int = 0

    @property
    def margin_ticks(self) -> int:
        """What is left of what was charged."""
        return self.charge_ticks - self.cost_ticks

    @property
    def mean_us(self) -> int:
        """How long a request took on average, in microseconds."""
        return self.duration_us // self.requests if self.requests else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """Which usage counts. Days are such as 20261125, both included; None does not matter."""

    first_day: int
    last_day: int
    user_id: str | None = None
    """Empty for keys that belong to nobody."""
    key_id: str | None = None
    model: str | None = None
    app: str | None = None
    """Empty for requests that named no application."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of one group; `group` has its values, in the order in which they were asked for."""

    group: tuple[int | str, ...]
    sums: Sums


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Rows in the order of their groups."""

    rows: list[UsageRow] = field(default_factory=list)
    next: tuple[int | str, ...] = ()
    """The last row's group, when there are more: `after` of the next page."""


class BucketRow(NamedTuple):
    """How many attempts fell into one bucket of a measure (`counts`)."""

    model: str
    measure: str
    bucket: int
    attempts: int


async def sum_usage(
    database: Database,
    wanted: UsageFilter,
    by: Sequence[str],
    *,
    after: tuple[int | str, ...] = (),
    limit: int = 1000,
) -> UsagePage:
    """Return usage added up by `by`, of `GROUPS`; the rows after the group `after`.

    Added up by nothing it is one row, or none where there was no request.
    """
    limit = min(max(limit, 1), MAX_ROWS)
    texts = (wanted.user_id, wanted.key_id, wanted.model, wanted.app, *after)
    if not all(text.isprintable() for text in texts if isinstance(text, str)):
        return UsagePage()  # Nothing stored is like that, and PostgreSQL takes no NUL.
    names = [GROUPS[name] for name in by]
    query = _summing(wanted, names, after).limit(limit + 1)
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        found = (await connection.execute(query)).all()
    # Where nothing is added up, the sum is NULL.
    rows = [_row(row, len(names)) for row in found if row[-1] is not None]
    if len(rows) <= limit:
        return UsagePage(rows)
    return UsagePage(rows[:limit], rows[limit - 1].group)


def _row(row: sa.Row[Any], groups: int) -> UsageRow:
    return UsageRow(tuple(row[:groups]), Sums._make(int(one) for one in row[groups:]))


def _summing(
    wanted: UsageFilter, names: Sequence[str], after: tuple[int | str, ...]
) -> sa.Select[Any]:
    """Return the query for all groups after `after`.

    The table is in the order of day, user and key, so that adding these up needs no sorting. Where
    days are not told apart, they are first added up in that order, and only what is left of a
    million rows is sorted: that halves the time.
    """
    source: sa.FromClause = tables.usage_days
    where = _matching(wanted, names, after)
    places = [DAY_KEYS.index(name) for name in names]
    if places and max(places) <= _SORTED_UP_TO:
        prefix = [_days[name] for name in DAY_KEYS[: max(places) + 1]]
        inner = sa.select(*prefix, *_sums(tables.usage_days)).where(*where).group_by(*prefix)
        source, where = inner.subquery(), []
    columns = [source.c[name] for name in names]
    query = sa.select(*columns, *_sums(source)).where(*where)
    return query.group_by(*columns).order_by(*columns) if columns else query


def _sums(source: sa.FromClause) -> list[sa.Label[int]]:
    return [sa.func.sum(source.c[name]).label(name) for name in DAY_SUMS]


def _matching(
    wanted: UsageFilter, names: Sequence[str], after: tuple[int | str, ...]
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        _days.day >= wanted.first_day,
        _days.day <= wanted.last_day,
    ]
    for column in (_days.user_id, _days.key_id, _days.model, _days.app):
        value = getattr(wanted, column.name)
        if value is not None:
            conditions.append(column == value)
    if after:
        values = [sa.literal(value) for value in after]
        group = sa.tuple_(*(_days[name] for name in names))
        conditions.append(group > sa.tuple_(*values))
    return conditions


async def hours_of_models(
    database: Database, *, first_hour: int, last_hour: int
) -> list[BucketRow]:
    """Return the histograms of all models, of some hours (unix time / 3600) together."""
    columns = (_hours.model, _hours.measure, _hours.bucket)
    query = (
        sa.select(*columns, sa.func.sum(_hours.attempts))
        .where(_hours.hour.between(first_hour, last_hour))
        .group_by(*columns)
    )
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        return [BucketRow(*row[:3], int(row[3])) for row in await connection.execute(query)]
