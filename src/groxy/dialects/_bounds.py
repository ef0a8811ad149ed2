"""What a request says of its cost: read from a body's fields, and bounded in them.

In: a body, or its fields. Out: the fields without what is meant for the gateway alone, numbers that
were checked, and requests with a lower bound. Must not know prices, nor which field a dialect uses.
"""

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from groxy.core.amounts import read_usd
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Asked
from groxy.wire.json import UNREADABLE, Fields, decode_fields, encode

MAX_COST = "max_cost"
"""The field, in US dollars, that every dialect takes and no upstream gets."""
MAX_CHOICES = 128
MAX_TOKENS = 2**31
_NUMBERS = {
    # Upstreams may act on fields that their own dialect has not, so all are checked in all of them.
    "max_tokens": MAX_TOKENS,
    "max_completion_tokens": MAX_TOKENS,
    "max_output_tokens": MAX_TOKENS,
    "n": MAX_CHOICES,
    "best_of": MAX_CHOICES,
}
_NULL = b"null"

_decode_count = msgspec.json.Decoder(Annotated[int, Meta(ge=1)] | None).decode


class _Typed(msgspec.Struct):
    type: str | None = None


_decode_typed = msgspec.json.Decoder(list[_Typed] | None).decode


def open_body(body: bytes) -> tuple[Fields, int | None]:
    """Return the fields of a body that could be read, without `max_cost`, and that in ticks.

    Raises BAD_REQUEST, naming the field, for a `max_cost` that is no amount, and for numbers of
    tokens and choices out of range.
    """
    fields = decode_fields(body)
    for name, most in _NUMBERS.items():
        if name in fields:
            _check(fields[name], name, most)
    return fields, read_max_cost(fields.pop(MAX_COST, None))


def read_max_cost(raw: Raw | None) -> int | None:
    """Return the most that a caller wants to pay, in ticks; None when it does not say."""
    if raw is None or bytes(raw) == _NULL:
        return None
    return read_usd(bytes(raw), MAX_COST, least_ticks=1)


def _check(raw: Raw, name: str, most: int) -> None:
    try:
        count = count_in({name: raw}, name)
    except UNREADABLE:
        count = most + 1
    if count is not None and count > most:
        message = f"`{name}` must be a whole number from 1 to {most}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name)


def count_in(fields: Fields, name: str) -> int | None:
    """Return a number that was checked; None when it is not there, or null."""
    raw = fields.get(name)
    return None if raw is None else _decode_count(raw)


def most_in(fields: Fields, names: Sequence[str]) -> int | None:
    """Return the greatest of some numbers: which of them an upstream goes by is not known."""
    most = None
    for name in names:
        count = count_in(fields, name)
        if count is not None and (most is None or count > most):
            most = count
    return most


def lowered(asked: Asked, max_tokens: int, names: Sequence[str]) -> Asked:
    """Return a request that is bounded in each of the fields `names` that it has, else the first.

    No bound becomes higher than it was.
    """
    most = max(max_tokens, 1)
    fields, is_there = dict(asked.fields), False
    for name in names:
        count = count_in(fields, name)
        if count is not None:
            fields[name], is_there = Raw(encode(min(count, most))), True
    if not is_there:
        fields[names[0]] = Raw(encode(most))
    return replace(asked, fields=fields)


def count_tools(raw: Raw | None, callers: Collection[str | None]) -> int:
    """Return how many of some tools are of other types than those that `callers` run."""
    return sum([entry.type not in callers for entry in _entries(raw)])


def count_entries(raw: Raw | None) -> int:
    """Return how many objects a list has; none where it is no list."""
    return len(_entries(raw))


def _entries(raw: Raw | None) -> Sequence[_Typed]:
    if raw is None:
        return ()
    try:
        return _decode_typed(raw) or ()
    except UNREADABLE:
        return ()
