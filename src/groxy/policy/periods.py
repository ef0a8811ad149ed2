"""Periods: the days, weeks and months for which a key's spending is capped, all of them UTC.

In: a moment. Out: the names of what was spent then, and when they are over.
"""

import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from groxy.core.grants import Caps

_DAY_MS = 86_400_000
_KEEP = timedelta(days=71)
"""From the beginning of a period: a balance outlives it, for whoever looks what was spent."""


def has_periods(caps: Caps) -> bool:
    """Return whether any of the caps is for a day, a week or a month."""
    return not caps.day is caps.week is caps.month is None


def day_of(now_ms: int) -> int:
    """Return the number of a moment's day, counted from 1970."""
    return now_ms // _DAY_MS


def spends_of(key_id: str, caps: Caps, now_ms: int) -> Iterator[tuple[str, int, int | None]]:
    """Yield each balance that caps look at: its name, the cap, and until when it is kept."""
    if caps.total is not None:
        yield f"spend:{key_id}:total", caps.total, None
    if not has_periods(caps):
        return
    day, week, month = _periods(day_of(now_ms))
    for cap, (words, until_ms) in ((caps.day, day), (caps.week, week), (caps.month, month)):
        if cap is not None:
            yield f"spend:{key_id}:{words}", cap, until_ms


@functools.lru_cache(maxsize=4)
def _periods(day: int) -> tuple[tuple[str, int], ...]:
    """Return the day, week and month of a day: the end of a balance's name, until when it is kept.

    `day` counts from 1970.
    """
    today = datetime.fromtimestamp(day * _DAY_MS // 1000, UTC)
    monday = today - timedelta(days=today.weekday())
    starts = {"day": today, "week": monday, "month": today.replace(day=1)}
    return tuple(
        (f"{word}:{start.date().isoformat()}", int((start + _KEEP).timestamp() * 1000))
        for word, start in starts.items()
    )


def ends_of(name: str) -> datetime | None:
    """Return when the period of a balance is over; None for one that never is."""
    _, _, rest = name.removeprefix("spend:").partition(":")
    word, _, day = rest.partition(":")
    if not day:
        return None
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    if word == "day":
        return start + timedelta(days=1)
    if word == "week":
        return start + timedelta(days=7)
    return (start + timedelta(days=32)).replace(day=1)
