"""Bounds as bodies have them: numbers, amounts and names, checked while their field is known.

In: what JSON has. Out: values that grants are made of; or BAD_REQUEST that names the field. A grant
as a whole is checked in `policy.grants`.
"""

import re
from collections.abc import Sequence

from groxy.core.amounts import read_usd
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps

MAX_NAME_CHARS = 256
_WHOLE = re.compile(rb"0|[1-9][0-9]{0,18}")


def read_count(value: object, param: str, *, most: int) -> int:
    """Return a whole number from 0 to `most`, given as such or as the bytes of JSON."""
    if isinstance(value, bytes):
        found = _WHOLE.fullmatch(value)
        value = int(found[0]) if found is not None else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        message = f"`{param}` must be a whole number from 0 to {most}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return value


def read_caps(amounts: Sequence[object], param: str) -> Caps:
    """Return caps from amounts of US dollars for day, week, month and in all; None is no cap."""
    names = ("day", "week", "month", "total")
    given = zip(names, amounts, strict=True)
    return Caps(
        **{
            name: None if amount is None else read_usd(amount, f"{param}.{name}")
            for name, amount in given
        }
    )


def read_name(text: str, param: str = "name") -> str:
    """Return a name without blanks at its ends."""
    name = text.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        message = f"`{param}` must have 1 to {MAX_NAME_CHARS} printable characters."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return name
