"""Times as people type them on a command line: `24h`, `2027-01-31`. Text in, milliseconds out."""

import re
import time
from datetime import UTC, datetime

from groxy.core.errors import ErrorKind, GroxyError

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def read_span(text: str, option: str) -> int:
    """Return how many milliseconds `30m` or `7d` are; `0` is none. Raises BAD_REQUEST."""
    found = _SPAN.fullmatch(text)
    if found is None and text != "0":
        message = f"{option} must be a number and a unit, such as 90s, 30m, 24h, 7d or 2w."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option)
    return 0 if found is None else int(found[1]) * _UNITS_S[found[2]] * 1000


def read_end(text: str, option: str) -> int:
    """Return when something ends, in unix milliseconds: after a span, or with a day of UTC begun.

    Raises BAD_REQUEST, also for a time that is over.
    """
    now_ms = time.time_ns() // 1_000_000
    if _SPAN.fullmatch(text):
        end_ms = now_ms + read_span(text, option)
    else:
        try:
            end = datetime.fromisoformat(text)
        except ValueError:
            message = f"{option} must be a time such as 90d, 2027-01-31 or 2027-01-31T12:00:00Z."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option) from None
        if end.tzinfo is None:
            end = end.replace(tzinfo=UTC)
        end_ms = int(end.timestamp()) * 1000
    if end_ms <= now_ms:
        message = f"{option} must be in the future."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option)
    return end_ms


def day_text(unix_ms: int) -> str:
    """Return a time as a day of UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d")
