"""Amounts as people and programs write them: text or JSON in, integer ticks out, never a float.

What is taken is a plain decimal number of US dollars, such as `12`, `0.05` or `"0.05"`, with at
most ten digits behind the point (a tick). Everything else is refused with the field's name: signs,
exponents, NaN and Infinity, booleans, too much.
"""

import re

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD

MAX_USD = 100_000_000
"""No single amount is larger: ticks of a thousand such fit into 64 bits many times over."""
_DECIMAL = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,10}))?", re.ASCII)
_DIGITS = 10


def read_usd(value: object, param: str, *, least_ticks: int = 0, most_usd: int = MAX_USD) -> int:
    """Return an amount of US dollars in ticks; raise BAD_REQUEST that names `param`."""
    text = _text_of(value)
    found = _DECIMAL.fullmatch(text) if text is not None else None
    if found is None:
        message = (
            f"`{param}` must be an amount of US dollars such as 12 or 0.05: digits, and at most "
            f"{_DIGITS} more behind a point."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    whole, rest = found.groups(default="")
    ticks = int(whole) * TICKS_PER_USD + int(rest.ljust(_DIGITS, "0"))
    if ticks > most_usd * TICKS_PER_USD:
        message = f"`{param}` is too much: {most_usd} US dollars are the most."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    if ticks < least_ticks:
        message = f"`{param}` is too little." if ticks else f"`{param}` must be more than 0."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return ticks


def usd_text(ticks: int) -> str:
    """Return ticks in US dollars, exactly, as `read_usd` takes them: `0.05`, `-1.2`, `12`."""
    sign, ticks = ("-", -ticks) if ticks < 0 else ("", ticks)
    whole, rest = divmod(ticks, TICKS_PER_USD)
    text = f"{rest:0{_DIGITS}d}".rstrip("0")
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"


def _text_of(value: object) -> str | None:
    """Return the digits that somebody wrote; None for what is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, bytes):  # JSON as it came: a number, or one in quotes.
        value = value.decode("ascii", errors="replace")
        return value[1:-1] if value[:1] == value[-1:] == '"' and len(value) > 1 else value
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value) if 0 <= value < 10**12 else None
    if isinstance(value, float):
        # JSON's readers make floats of `0.05`. The shortest text that means the same is what was
        # written; one that needs an exponent is refused, and can be sent as text.
        return repr(value).removesuffix(".0")
    return None
