"""Why did a request go there: GET /requests finds requests, GET /requests/{id} tells all of one.

In: what to look for. Out: the books' lines, with the trail of one request: its attempts, and how
its route was chosen. No prompt and no reply is in the books.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from groxy.admin.callers import find_caller
from groxy.admin.desk import Desk
from groxy.admin.shapes import ErrorAnswer, Told
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import usd_from_ticks
from groxy.store.entries import (
    AttemptEntry,
    RequestEntry,
    RequestFilter,
    request_of,
    search_requests,
)

_MADE_HERE = ("resp_", "msg_", "cmpl-", "chatcmpl-")
"""Ids that the gateway makes of a request's id."""
_REQUEST = "req_"
_MAX_MS = 253_402_300_799_999
"""The end of the year 9999."""


class NamedAccount(Told):
    """An account. One that is gone has no name any more."""

    id: str
    name: str | None


class Tokens(Told):
    """What was read and written."""

    input: int
    cached: int = Field(description="Of these, out of the upstream's cache.")
    output: int
    reasoning: int = Field(description="Of the output, for reasoning.")
    estimated: bool = Field(description="True where the upstream told no counts.")


class Line(Told):
    """One request, as it is in the books."""

    id: str = Field(description="The reply's `x-request-id`.")
    at: int = Field(description="When it came, in unix milliseconds.")
    key_id: str
    dialect: str = Field(examples=["chat"])
    stream: bool
    model: str = Field(description="As asked for.")
    model_sent: str
    model_served: str
    account: NamedAccount | None = Field(description="Whose reply it was.")
    outcome: str = Field(description="`ok`, or the code of the error.", examples=["ok"])
    status: int = Field(description="What the caller got.")
    attempts: int
    tokens: Tokens
    cost_ticks: int = Field(description="What it cost you, in 10^-10 US dollars.")
    cost_usd: str = Field(description="The same in dollars, exactly.", examples=["0.00123"])
    user_id: str = Field(description="Whose key it was; empty for nobody's.")
    charge_ticks: int = Field(description="What its caller paid.")
    charge_usd: str
    held_usd: str = Field(description="The most that was held for it.")
    price_version: str = Field(description="The version of the price that held for it.")
    is_cut: bool = Field(description="True for a stream that ended because its hold was used up.")
    first_event_ms: float
    duration_ms: float
    reply_id: str
    finish_reason: str
    upstream_dialect: str = Field(description="In which the account was asked.")
    app_title: str
    app_url: str


class Try(Told):
    """One attempt at an upstream."""

    number: int
    at: int = Field(description="In unix milliseconds.")
    upstream: str
    account: NamedAccount | None
    model_sent: str
    model_served: str
    outcome: str
    status: int = Field(description="What the upstream answered; 0 for nothing.")
    tokens: Tokens
    cost_ticks: int
    cost_usd: str
    cost_source: str = Field(description="upstream (its own bill), catalog (computed), or none.")
    list_usd: str = Field(description="What the price list says that it costs.")
    first_event_ms: float
    duration_ms: float


class Chosen(Told):
    """An account that was to be asked."""

    account: NamedAccount
    score: float | None = Field(description="The less the better.")
    model: str
    dialect: str


class Passed(Told):
    """An account that was not to be asked."""

    account: NamedAccount
    why: str = Field(examples=["cooling"])


class Route(Told):
    """How the route was chosen."""

    strategy: str
    of: int = Field(description="How many accounts could serve the model at all.")
    home: NamedAccount | None = Field(
        description="The account that served the conversation before, where that put it first."
    )
    candidates: list[Chosen] = Field(description="In the order in which they were to be asked.")
    passed: list[Passed] = Field(description="Some that were looked at and left out.")


class Trail(Told):
    """All that is known of one request."""

    request: Line
    attempts: list[Try]
    route: Route | None = Field(description="Null when it never came to choosing an account.")


class Lines(Told):
    """Requests, newest first."""

    requests: list[Line]
    next: str | None = Field(description="Send it as `before` for the page that follows.")
    complete: bool = Field(
        description="False when the search stopped after very many lines: go on from `next`."
    )


class _Candidate(msgspec.Struct):
    account: str
    score: float | None = None
    model: str = ""
    dialect: str = ""


class _Passed(msgspec.Struct, array_like=True):
    account: str
    why: str = ""


class _Route(msgspec.Struct):
    """The column `route` of the books."""

    strategy: str = ""
    of: int = 0
    home: str = ""
    candidates: list[_Candidate] = []
    passed: list[_Passed] = []


_route = msgspec.json.Decoder(_Route)
_Moment = Annotated[int, Query(ge=0, le=_MAX_MS, description="Unix milliseconds.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The parameters of a search."""

    key: Annotated[str, Query(max_length=512, description="A key's id, or the key.")] = ""
    model: Annotated[str, Query(max_length=256, description="As asked for or served.")] = ""
    account: Annotated[
        str, Query(max_length=4096, description="Id or name of one asked in any attempt.")
    ] = ""
    outcome: Annotated[str, Query(max_length=64, examples=["ok"])] = ""
    status: Annotated[int, Query(ge=0, le=599)] = 0
    since: _Moment = 0
    until: _Moment = 0

    async def filter(self, desk: Desk) -> RequestFilter:
        """Return what to look for, with names made ids."""
        caller = await find_caller(desk, self.key) if self.key else None
        accounts = desk.find([self.account]) if self.account else []
        return RequestFilter(
            key_id=self.key if caller is None else caller.key_id,
            model=self.model,
            account_id=accounts[0].id if accounts else self.account,
            outcome=self.outcome,
            status=self.status,
            since_ms=self.since,
            until_ms=self.until,
        )


def router(desk: Desk) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["requests"])

    @routes.get("/requests", summary="Find requests, newest first")
    async def get_requests(
        search: Annotated[_Search, Depends()],
        before: Annotated[str, Query(max_length=64, description="`next` of a page.")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Lines:
        wanted = await search.filter(desk)
        found = await search_requests(desk.database, wanted, before=before, limit=limit)
        lines = [_line(desk, entry) for entry in found.requests]
        return Lines(requests=lines, next=found.next or None, complete=found.is_complete)

    @routes.get(
        "/requests/{request_id}",
        summary="All of one request: its attempts, and why these accounts",
        responses={404: {"model": ErrorAnswer}},
    )
    async def get_request(
        request_id: Annotated[
            str, Path(max_length=128, description="A reply's `x-request-id`, or its own id.")
        ],
    ) -> Trail:
        found = await request_of(desk.database, _id_of(request_id))
        if found is None:
            raise GroxyError(
                ErrorKind.NOT_FOUND,
                "There is no such request. Send a reply's `x-request-id`.",
                param="request_id",
                code="request_not_found",
            )
        request, attempts = found
        return Trail(
            request=_line(desk, request),
            attempts=[_try(desk, entry) for entry in attempts],
            route=_route_of(desk, request.route),
        )

    return routes


def _id_of(asked: str) -> str:
    prefix = next((prefix for prefix in _MADE_HERE if asked.startswith(prefix)), None)
    return asked if prefix is None else _REQUEST + asked.removeprefix(prefix)


def _named(desk: Desk, account_id: str) -> NamedAccount:
    account = desk.directory.get(account_id)
    return NamedAccount(id=account_id, name=None if account is None else account.name)


def _maybe_named(desk: Desk, account_id: str) -> NamedAccount | None:
    return _named(desk, account_id) if account_id else None


def _usd(ticks: int) -> str:
    text = f"{usd_from_ticks(ticks):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tokens(entry: RequestEntry | AttemptEntry) -> Tokens:
    return Tokens(
        input=entry.input_tokens,
        cached=entry.cached_tokens,
        output=entry.output_tokens,
        reasoning=entry.reasoning_tokens,
        estimated=entry.usage_estimated,
    )


def _line(desk: Desk, entry: RequestEntry) -> Line:
    return Line(
        id=entry.id,
        at=entry.at_ms,
        key_id=entry.key_id,
        dialect=entry.dialect,
        stream=entry.is_stream,
        model=entry.model_asked,
        model_sent=entry.model_sent,
        model_served=entry.model_served,
        account=_maybe_named(desk, entry.account_id),
        outcome=entry.outcome,
        status=entry.status,
        attempts=entry.attempts,
        tokens=_tokens(entry),
        cost_ticks=entry.cost_ticks,
        cost_usd=_usd(entry.cost_ticks),
        user_id=entry.user_id,
        charge_ticks=entry.charge_ticks,
        charge_usd=_usd(entry.charge_ticks),
        held_usd=_usd(entry.held_ticks),
        price_version=entry.price_version,
        is_cut=entry.is_cut,
        first_event_ms=entry.first_event_us / 1000,
        duration_ms=entry.duration_us / 1000,
        reply_id=entry.reply_id,
        finish_reason=entry.finish_reason,
        upstream_dialect=entry.upstream_dialect,
        app_title=entry.app_title,
        app_url=entry.app_url,
    )


def _try(desk: Desk, entry: AttemptEntry) -> Try:
    return Try(
        number=entry.number,
        at=entry.at_ms,
        upstream=entry.upstream,
        account=_maybe_named(desk, entry.account_id),
        model_sent=entry.model_sent,
        model_served=entry.model_served,
        outcome=entry.outcome,
        status=entry.status,
        tokens=_tokens(entry),
        cost_ticks=entry.cost_ticks,
        cost_usd=_usd(entry.cost_ticks),
        cost_source=entry.cost_source,
        list_usd=_usd(entry.list_ticks),
        first_event_ms=entry.first_event_us / 1000,
        duration_ms=entry.duration_us / 1000,
    )


def _route_of(desk: Desk, text: str) -> Route | None:
    """Return how a route was chosen; None when nothing of it was noted."""
    try:
        told = _route.decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return Route(
        strategy=told.strategy,
        of=told.of,
        home=_maybe_named(desk, told.home),
        candidates=[
            Chosen(
                account=_named(desk, one.account),
                score=one.score,
                model=one.model,
                dialect=one.dialect,
            )
            for one in told.candidates
        ],
        passed=[Passed(account=_named(desk, one.account), why=one.why) for one in told.passed],
    )
