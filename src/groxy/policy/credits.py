"""Credits as people ask for them and read them: amounts with a sign, spans of time, statements.

In: text from callers and operators, lines of the books. Out: checked values, or BAD_REQUEST that
names the field; rows of a statement as JSON and as CSV that no spreadsheet takes for a formula.
"""

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from groxy.core.amounts import read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.moments import moment_text
from groxy.state.gates import Answer, Claim, Scope, Verdict
from groxy.store.statements import Line, Span

COLUMNS = ("time", "id", "kind", "amount_usd", "request_id", "key_id", "note")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MAX_MOMENT_CHARS = 40
_FLOAT_DIGITS = 15
"""A double has that many digits for certain."""
Ask = Callable[[Claim], Awaitable[Verdict]]
"""Asks the gate."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


async def require_turn(ask: Ask, name: str, per_minute: int) -> None:
    """Count one more of what may be done so often a minute; raise RATE_LIMITED."""
    verdict = await ask(Claim(scopes=(Scope(name=name, requests=per_minute),)))
    if verdict.answer is not Answer.GRANTED:
        wait_s = verdict.retry_after_s
        message = f"This can be done {per_minute} times a minute. Try again in {wait_s:.0f} s."
        raise GroxyError(ErrorKind.RATE_LIMITED, message, retry_after_s=wait_s)


def read_signed_usd(value: object, param: str) -> int:
    """Return an amount of US dollars that may be negative, in ticks, but not 0.

    Raises BAD_REQUEST that names `param`; see `core.amounts`.
    """
    sign = 1
    if isinstance(value, str) and value.startswith("-"):
        sign, value = -1, value[1:]
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        sign, value = -1, -value
    return sign * read_usd(exact(value, param), param, least_ticks=1)


def exact(value: object, param: str) -> object:
    """Return an amount as JSON gave it; raise BAD_REQUEST for a number that has lost digits."""
    if isinstance(value, float) and len(repr(value).replace(".", "").lstrip("0")) > _FLOAT_DIGITS:
        message = f'`{param}` has too many digits for a number of JSON. Send it as text: "0.05".'
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return value


def read_span(from_: str, to: str) -> Span:
    """Return the span between two moments, each a day such as 2026-11-25 (UTC) or RFC 3339.

    A day as its end is part of it. Empty is no bound. Raises BAD_REQUEST (`from`, `to`).
    """
    start, end = _moment_ms(from_, "from"), _moment_ms(to, "to", is_end=True)
    if start is not None and end is not None and end <= start:
        message = "`to` must be later than `from`."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="to")
    return Span(from_ms=start, to_ms=end)


def read_moment_ms(text: str, param: str) -> int:
    """Return a moment, a day (its beginning, UTC) or RFC 3339 with an offset, in unix milliseconds.

    Raises BAD_REQUEST that names `param`.
    """
    found = _moment_ms(text, param)
    if found is None:
        raise _no_moment(param)
    return found


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a statement as it is told."""

    time: str
    id: str
    kind: str
    amount_usd: str
    """What it adds to the balance; negative for what it takes."""
    request_id: str
    key_id: str
    note: str


def row_of(line: Line) -> Row:
    """Return a line of the books as its user reads it."""
    return Row(
        time=moment_text(line.at_ms),
        id=line.id,
        kind=line.kind,
        amount_usd=usd_text(line.ticks),
        request_id=line.request_id,
        key_id=line.key_id,
        note=line.note,
    )


def csv_head() -> bytes:
    """Return the first line of a statement as CSV (RFC 4180)."""
    return _csv([COLUMNS])


def csv_rows(lines: Sequence[Line]) -> bytes:
    """Return lines of a statement as CSV; amounts are plain decimals, all else is only text."""
    return _csv(
        (
            moment_text(line.at_ms),
            plain_cell(line.id),
            plain_cell(line.kind),
            usd_text(line.ticks),
            plain_cell(line.request_id),
            plain_cell(line.key_id),
            plain_cell(line.note),
        )
        for line in lines
    )


def plain_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula (OWASP, CSV injection, 2026)."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def _moment_ms(text: str, param: str, *, is_end: bool = False) -> int | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            at = datetime(day.year, day.month, day.day, tzinfo=UTC)
            return int((at + timedelta(days=1) if is_end else at).timestamp()) * 1000
        # Python's reader takes a NUL at the end for the end.
        if len(text) > _MAX_MOMENT_CHARS or not text.isprintable() or "T" not in text.upper():
            raise _no_moment(param)
        # A plus sign that was not written as %2B arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+"))
        if at.tzinfo is None:
            raise _no_moment(param)
        return int((at - _EPOCH) / timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        raise _no_moment(param) from None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _no_moment(param: str) -> GroxyError:
    message = (
        f"`{param}` must be a day such as 2026-11-25, or a moment such as 2026-11-25T12:00:00Z."
    )
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
