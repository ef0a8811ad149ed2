"""Periods: the days, weeks and months for which a key's spending is capped, all of them UTC.

In: a moment. Out: the names of what was spent then, and when they are over.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from groxy.core.grants import Caps

_KEEP = timedelta(days=40)
"""How long a balance outlives its period: for whoever looks what was spent."""


def spends_of(key_id: str, caps: Caps, now_ms: int) -> Iterator[tuple[str, int, int | None]]:
    """Yield each balance that caps look at: its name, the cap, and until when it is kept."""
    if caps.total is not None:
        yield f"spend:{key_id}:total", caps.total, None
    if caps.day is caps.week is caps.month is None:
        return
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    monday = today - timedelta(days=today.weekday())
    for word, cap, start in (
        ("day", caps.day, today),
        ("week", caps.week, monday),
        ("month", caps.month, today.replace(day=1)),
    ):
        if cap is not None:
            kept = datetime(start.year, start.month, start.day, tzinfo=UTC) + _KEEP
            until_ms = int((kept + timedelta(days=31)).timestamp() * 1000)
            yield f"spend:{key_id}:{word}:{start.isoformat()}", cap, until_ms


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
