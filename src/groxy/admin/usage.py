"""GET /admin/api/usage: what requests add up to, by day, user, key, model and application.

In: days, filters, by what to add up. Out: sums as JSON, or as CSV that no spreadsheet takes for a
formula. They come from the sums of days, so they are there after single requests were deleted.
"""

import base64
import binascii
import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from groxy.admin.callers import find_caller
from groxy.admin.desk import Desk
from groxy.admin.shapes import Told
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.credits import plain_cell
from groxy.store.usage import GROUPS, MAX_ROWS, UsageFilter, UsagePage, UsageRow, sum_usage

_DEFAULT_DAYS = 30
_MAX_CURSOR = 2048
_MAX_DAYS = 3660
_SUMS = (
    "requests",
    "errors",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "charge_usd",
    "margin_usd",
    "mean_latency_ms",
)
_cursors = msgspec.json.Decoder(tuple[int | str, ...])


class UsageTokens(Told):
    """What was read and written."""

    input: int
    cached: int
    output: int
    reasoning: int


class Usage(Told):
    """What the requests of one group add up to. What they are not told apart by is null."""

    day: str | None = Field(description="UTC.", examples=["2026-11-25"])
    user: str | None = Field(description="Empty for keys that belong to nobody.")
    key: str | None
    model: str | None = Field(description="Empty where a request failed before any attempt.")
    app: str | None = Field(description="Empty where none was named.")
    requests: int
    errors: int
    tokens: UsageTokens
    cost_ticks: int = Field(description="Of the attempts that served; 10^-10 US dollars.")
    cost_usd: str = Field(examples=["0.00123"])
    charge_ticks: int = Field(description="What users paid.")
    charge_usd: str
    margin_ticks: int = Field(description="Charge less cost.")
    margin_usd: str
    mean_latency_ms: float


class UsageList(Told):
    """Sums, in the order of their groups."""

    first_day: str = Field(alias="from")
    last_day: str = Field(alias="to")
    by: list[str]
    rows: list[Usage]
    next: str | None = Field(description="Send it as `cursor` for the rows that follow.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The parameters."""

    first_day: Annotated[
        str, Query(alias="from", max_length=32, description="UTC; 29 days before `to` if left out.")
    ] = ""
    last_day: Annotated[str, Query(alias="to", max_length=32, description="Today.")] = ""
    by: Annotated[
        str,
        Query(max_length=64, description=f"Of {', '.join(GROUPS)}, with commas. Empty: one sum."),
    ] = "day"
    key: Annotated[str | None, Query(max_length=512, description="A key's id, or the key.")] = None
    user: Annotated[
        str | None, Query(max_length=64, description="An id; empty: keys that belong to nobody.")
    ] = None
    model: Annotated[str | None, Query(max_length=256)] = None
    app: Annotated[str | None, Query(max_length=128)] = None

    def groups(self) -> list[str]:
        """Return by what to add up; raise BAD_REQUEST."""
        names = [name.strip() for name in self.by.split(",") if name.strip()]
        if len(set(names)) < len(names) or not set(names) <= GROUPS.keys():
            message = f"`by` must be some of {', '.join(GROUPS)}, each once, with commas."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="by")
        return names

    async def filter(self, desk: Desk, today: date) -> UsageFilter:
        """Return what counts; raise BAD_REQUEST."""
        last = _day(self.last_day, "to") if self.last_day else today
        if self.first_day:
            first = _day(self.first_day, "from")
        else:
            first = last - timedelta(days=min(_DEFAULT_DAYS - 1, last.toordinal() - 1))
        if not 0 <= (last - first).days < _MAX_DAYS:
            message = f"`from` must not be after `to`, nor {_MAX_DAYS} days before it."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="from")
        caller = await find_caller(desk, self.key) if self.key else None
        return UsageFilter(
            first_day=_number(first),
            last_day=_number(last),
            key_id=self.key if caller is None else caller.key_id,
            user_id=self.user,
            model=self.model,
            app=self.app,
        )


def router(desk: Desk) -> APIRouter:
    """Return the endpoint."""
    routes = APIRouter(tags=["usage"])

    @routes.get(
        "/usage",
        summary="What requests add up to, by day, user, key, model, application",
        response_model=UsageList,
        responses={200: {"content": {"text/csv": {}}}},
    )
    async def get_usage(
        wanted: Annotated[_Wanted, Depends()],
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
        cursor: Annotated[str, Query(max_length=_MAX_CURSOR, description="`next` of a page.")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 1000,
    ) -> Response | UsageList:
        by = wanted.groups()
        today = datetime.fromtimestamp(time.time_ns() / 1e9, UTC).date()
        counted = await wanted.filter(desk, today)
        after = _after(cursor, by)
        page = await sum_usage(desk.database, counted, by, after=after, limit=limit)
        following = _cursor(page)
        if form == "csv":
            headers = {"content-disposition": 'attachment; filename="usage.csv"'}
            if following:
                headers["x-next-cursor"] = following
            return Response(_csv(by, page.rows), media_type="text/csv", headers=headers)
        return UsageList(
            **{"from": _text(counted.first_day), "to": _text(counted.last_day)},
            by=by,
            rows=[_told(by, row) for row in page.rows],
            next=following or None,
        )

    return routes


def _told(by: Sequence[str], row: UsageRow) -> Usage:
    named, sums = dict(zip(by, map(_value, row.group), strict=True)), row.sums
    return Usage(
        **{name: named.get(name) for name in GROUPS},
        requests=sums.requests,
        errors=sums.errors,
        tokens=UsageTokens(
            input=sums.input_tokens,
            cached=sums.cached_tokens,
            output=sums.output_tokens,
            reasoning=sums.reasoning_tokens,
        ),
        cost_ticks=sums.cost_ticks,
        cost_usd=usd_text(sums.cost_ticks),
        charge_ticks=sums.charge_ticks,
        charge_usd=usd_text(sums.charge_ticks),
        margin_ticks=sums.margin_ticks,
        margin_usd=usd_text(sums.margin_ticks),
        mean_latency_ms=sums.mean_us / 1000,
    )


def _csv(by: Sequence[str], rows: Sequence[UsageRow]) -> str:
    """Return rows as CSV (RFC 4180): texts are only text, whatever callers put in them."""
    written = io.StringIO(newline="")
    lines = csv.writer(written)
    lines.writerow([*by, *_SUMS])
    for row in rows:
        sums = row.sums
        money = (sums.cost_ticks, sums.charge_ticks, sums.margin_ticks)
        lines.writerow(
            [
                *(plain_cell(_value(one)) for one in row.group),
                *sums[:6],
                *map(usd_text, money),
                f"{sums.mean_us / 1000:.3f}",
            ]
        )
    return written.getvalue()


def _value(value: int | str) -> str:
    return value if isinstance(value, str) else _text(value)


def _day(text: str, param: str) -> date:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        message = f"`{param}` must be a day, such as 2026-11-25."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return day


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day


def _text(number: int) -> str:
    return f"{number // 10_000:04}-{number // 100 % 100:02}-{number % 100:02}"


def _cursor(page: UsagePage) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(page.next)).decode() if page.next else ""


def _after(cursor: str, by: Sequence[str]) -> tuple[int | str, ...]:
    """Return the group that a cursor stands for; raise BAD_REQUEST for one of another list."""
    if not cursor:
        return ()
    try:
        group = _cursors.decode(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        group = ()
    kinds = [int if name == "day" else str for name in by]
    fits = len(group) == len(kinds) and all(map(isinstance, group, kinds))
    if not group or not fits or any(isinstance(one, int) and not 0 <= one < 10**8 for one in group):
        message = "`cursor` must be the `next` of a page with the same `by`."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="cursor")
    return group
