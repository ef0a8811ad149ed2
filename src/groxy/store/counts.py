"""Counts: what requests add up to a day, and attempts an hour, so that years stay fast to query.

In: the rows of a group. Out: rows to be added to `usage_days` and `model_hours`, in the same
transaction, so that they are as true as the books. Must not look anything up.

`model_hours` are histograms. A bucket of a measure is `round(4 * log2(1 + value))`, which is within
9 % of the value: `first` (milliseconds to the first event), `speed` (output tokens a second). Of
`ok` and `failed` there is bucket 0 only; what the caller or the account is at fault for is neither.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from groxy.core.errors import ErrorKind, Fault, facts_of
from groxy.store.entries import AttemptEntry, RequestEntry

OK, FAILED, FIRST, SPEED = "ok", "failed", "first", "speed"
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_STEPS = 4
_MOST = 2**50
"""Of one request: 100,000 dollars, or a quadrillion tokens."""
_MAX_MODEL, _MAX_APP = 256, 128
_CANCELLED = ErrorKind.CANCELLED.value
_UPSTREAMS_FAULT = frozenset(
    kind.value for kind in ErrorKind if facts_of(kind).fault is Fault.UPSTREAM
)
_days: dict[int, int] = {}

DayRow = tuple[int, str, str, str, str, int, int, int, int, int, int, int, int, int]
HourRow = tuple[int, str, str, int, int]

DAY_KEYS = ("day", "user_id", "key_id", "model", "app")
DAY_SUMS = (
    "requests",
    "errors",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_ticks",
    "charge_ticks",
    "duration_us",
)
HOUR_KEYS = ("hour", "model", "measure", "bucket")
HOUR_SUMS = ("attempts",)


def day_of(at_ms: int) -> int:
    """Return the day of a moment, UTC, such as 20261125."""
    number = at_ms // _DAY_MS
    day = _days.get(number)
    if day is None:
        if len(_days) > 64:
            _days.clear()
        at = datetime.fromtimestamp(number * _DAY_MS / 1000, UTC)
        day = _days[number] = at.year * 10_000 + at.month * 100 + at.day
    return day


def bucket_of(value: float) -> int:
    """Return the bucket of a measure's value."""
    return round(_STEPS * math.log2(1 + max(value, 0.0)))


def value_of(bucket: int) -> float:
    """Return the value in the middle of a bucket."""
    return math.pow(2.0, bucket / _STEPS) - 1


def app_of(request: RequestEntry) -> str:
    """Return what the application of a request is counted under; empty when it says nothing."""
    if request.app_title or not request.app_url:
        return request.app_title[:_MAX_APP]
    try:
        return (urlsplit(request.app_url).hostname or "")[:_MAX_APP]
    except ValueError:
        return ""


def day_rows(requests: Sequence[RequestEntry]) -> list[DayRow]:
    """Return what requests add to their days, one row for each user, key, model and app."""
    found: dict[tuple[int, str, str, str, str], list[tuple[int, ...]]] = {}
    for one in requests:
        model = (one.model_served or one.model_sent or one.model_asked)[:_MAX_MODEL]
        is_error = one.outcome not in (OK, _CANCELLED)
        if is_error and not one.attempts:
            model = ""  # Nobody checked the name: callers could make as many rows as they like.
        key = (day_of(one.at_ms), one.user_id, one.key_id, model, app_of(one))
        values = (
            1,
            int(is_error),
            one.input_tokens,
            one.cached_tokens,
            one.output_tokens,
            one.reasoning_tokens,
            one.cost_ticks,
            one.charge_ticks,
            one.duration_us,
        )
        found.setdefault(key, []).append(values)
    # In one order for everybody: two processes that add to the same rows must not lock crosswise.
    return [(*key, *map(_sum, zip(*found[key], strict=True))) for key in sorted(found)]  # type: ignore[misc]


def _sum(values: Sequence[int]) -> int:
    """Return a sum that a column can hold, also of what a caller or an upstream made up."""
    return sum(values) if max(values) <= _MOST else sum(min(value, _MOST) for value in values)


def hour_rows(attempts: Sequence[AttemptEntry]) -> list[HourRow]:
    """Return what attempts add to their hours."""
    sums: dict[tuple[int, str, str, int], int] = {}
    for one in attempts:
        hour, model = one.at_ms // _HOUR_MS, one.model_sent.rpartition("/")[2][:_MAX_MODEL]
        for measure, bucket in _measured(one):
            key = (hour, model, measure, bucket)
            sums[key] = sums.get(key, 0) + 1
    return [(*key, sums[key]) for key in sorted(sums)]


def _measured(attempt: AttemptEntry) -> list[tuple[str, int]]:
    if attempt.outcome in _UPSTREAMS_FAULT:
        return [(FAILED, 0)]
    if attempt.outcome != OK:
        return []
    measured = [(OK, 0)]
    if attempt.first_event_us:
        measured.append((FIRST, bucket_of(attempt.first_event_us / 1000)))
    if attempt.output_tokens and attempt.duration_us:
        measured.append((SPEED, bucket_of(attempt.output_tokens * 1e6 / attempt.duration_us)))
    return measured


def adding_sql(table: str, keys: Sequence[str], sums: Sequence[str], mark: str) -> str:
    """Return SQL that adds a row to what is there; SQLite and PostgreSQL say it alike.

    `mark` makes the placeholders: `?`, or `$` before their number.
    """
    names = (*keys, *sums)
    places = ", ".join(mark if mark == "?" else f"{mark}{at}" for at, _ in enumerate(names, 1))
    changes = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places}) "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    )
