"""Moments as people and programs write them: RFC 3339 text in, unix milliseconds out, and back.

A time without its zone is refused: nobody knows when it is.
"""

import re
from datetime import UTC, datetime, timedelta

from groxy.core.errors import ErrorKind, GroxyError

_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_CHARS = 64


def read_moment(text: str, param: str, *, rounds_up: bool = False) -> int:
    """Return a moment in unix milliseconds; raise BAD_REQUEST that names `param`.

    What is finer than a millisecond is left out, or with `rounds_up` made a whole one, where the
    moment must not be before the one meant.
    """
    found = _RFC_3339.fullmatch(text) if len(text) <= _MAX_CHARS else None
    try:
        if found is None:
            raise ValueError
        day, clock, fraction, zone = found.groups(default="")
        zone = "+00:00" if zone in "Zz" else zone
        since = datetime.fromisoformat(f"{day}T{clock}{zone}") - _EPOCH
    except (ValueError, OverflowError):
        message = f"`{param}` must be a moment with its time zone, such as 2026-12-01T00:00:00Z."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param) from None
    nanos = int(fraction.ljust(9, "0"))
    millis = -(-nanos // 10**6) if rounds_up else nanos // 10**6
    return since // timedelta(seconds=1) * 1000 + millis


def moment_text(at_ms: int) -> str:
    """Return unix milliseconds as RFC 3339, exactly: `2026-12-01T00:00:00.000Z`."""
    seconds, rest_ms = divmod(at_ms, 1000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"
