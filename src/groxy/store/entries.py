"""The books: one row a request, one row an attempt, never changed once written.

In: what is looked for. Out: rows. What they cost is in the ledger, too (`store.ledger`); `writing`
writes them all.
"""

from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import Database


class AttemptEntry(NamedTuple):
    """One attempt at an upstream. The fields are the columns, in order."""

    request_id: str
    number: int
    at_ms: int
    upstream: str
    account_id: str
    model_sent: str
    model_served: str
    outcome: str
    status: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_ticks: int
    cost_source: str
    """`upstream` (its own bill), `catalog` (computed), or `none` (nothing to bill)."""
    first_event_us: int
    duration_us: int
    list_ticks: int = 0
    """What the price list says that it costs; to be compared with the upstream's own bill."""


class RequestEntry(NamedTuple):
    """One request. The fields are the columns, in order."""

    id: str
    at_ms: int
    key_id: str
    dialect: str
    is_stream: bool
    model_asked: str
    model_sent: str
    model_served: str
    account_id: str
    outcome: str
    status: int
    attempts: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_ticks: int
    first_event_us: int
    duration_us: int
    reply_id: str
    """The id of the reply as the caller saw it; empty if there was none."""
    app_title: str
    app_url: str
    """What the caller's application says of itself: a name, an address."""
    finish_reason: str
    upstream_dialect: str
    """The dialect in which the account that served was asked."""
    route: str = ""
    """How the route was chosen, as JSON."""
    user_id: str = ""
    """Whose key it was; empty for nobody's."""
    charge_ticks: int = 0
    """What its caller paid, as the ledger has it; 0 where nobody pays."""
    held_ticks: int = 0
    """The most that was held for it."""
    price_version: str = ""
    """The version of the price of the model asked for, which held while it ran."""
    is_cut: bool = False
    """True when its stream was ended because what was held for it was used up."""
    request_sha256: bytes | None = None
    reply_sha256: bytes | None = None
    """Of the bodies as the caller sent and got them; None where it got none."""


_SEARCHED_REQUESTS = 50_000
"""How far back a request is looked for by the id of its reply, which has no index: its values are
random, and an index of such is what made commits slow (docs/decisions/0003)."""
_MAX_REPLY_ID = 128
MAX_FOUND = 500
"""How many requests one search can return."""
_SEARCHED_LINES = 20_000
"""How many lines one search looks at: a fraction of a second, whatever it looks for."""


async def last_requests(database: Database, limit: int) -> list[RequestEntry]:
    """Return the newest requests, newest first."""
    columns = [tables.requests.c[name] for name in RequestEntry._fields]
    query = sa.select(*columns).order_by(tables.requests.c.id.desc()).limit(limit)
    async with database.transaction() as connection:
        return [RequestEntry(*row) for row in await connection.execute(query)]


async def attempts_of(database: Database, request_id: str) -> list[AttemptEntry]:
    """Return the attempts of one request, in order."""
    columns = [tables.attempts.c[name] for name in AttemptEntry._fields]
    query = (
        sa.select(*columns)
        .where(tables.attempts.c.request_id == request_id)
        .order_by(tables.attempts.c.number)
    )
    async with database.transaction() as connection:
        return [AttemptEntry(*row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """What requests are looked for; what is empty or 0 does not matter."""

    key_id: str = ""
    model: str = ""
    """As asked for, or as served."""
    account_id: str = ""
    """One that was asked in any attempt."""
    outcome: str = ""
    status: int = 0
    since_ms: int = 0
    until_ms: int = 0
    """Up to and without this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to, newest first."""

    requests: list[RequestEntry]
    next: str
    """Where to go on: `before` of the next search. Empty when there is no more."""
    is_complete: bool
    """False when the search stopped, because it had looked at enough lines, before it had as many
    requests as it could return: there may be more from `next` on."""


async def search_requests(
    database: Database, wanted: RequestFilter, *, before: str = "", limit: int = 50
) -> Found:
    """Return the newest requests that fit, of those older than the request `before`.

    At most 500 are returned, and at most 20,000 lines are looked at.
    """
    limit = min(max(limit, 1), MAX_FOUND)
    texts = (before, wanted.key_id, wanted.model, wanted.account_id, wanted.outcome)
    if not all(text.isprintable() for text in texts):  # PostgreSQL takes no NUL
        return Found(requests=[], next="", is_complete=True)
    columns = tables.requests.c
    within = _within(wanted, before)
    walk = sa.select(columns.id).where(*within).order_by(columns.id.desc())
    fields = [columns[name] for name in RequestEntry._fields]
    async with database.transaction() as connection:
        last = await connection.scalar(walk.offset(_SEARCHED_LINES - 1).limit(1))
        reach = [columns.id >= last] if last else []
        query = sa.select(*fields).where(*within, *reach, *_fits(wanted))
        rows = await connection.execute(query.order_by(columns.id.desc()).limit(limit + 1))
        found = [RequestEntry(*row) for row in rows]
    if len(found) > limit:
        return Found(requests=found[:limit], next=found[limit - 1].id, is_complete=True)
    return Found(requests=found, next=last or "", is_complete=last is None)


def _within(wanted: RequestFilter, before: str) -> list[sa.ColumnElement[bool]]:
    """Return the part of the books to look at; ids begin with the time, so it is one stretch."""
    column = tables.requests.c.id
    stretch = [column < before] if before else []
    if wanted.since_ms > 0:
        stretch.append(column >= request_id_at(wanted.since_ms))
    if wanted.until_ms > 0:
        stretch.append(column < request_id_at(wanted.until_ms))
    return stretch


def _fits(wanted: RequestFilter) -> list[sa.ColumnElement[bool]]:
    columns, tried = tables.requests.c, tables.attempts.c
    conditions: list[sa.ColumnElement[bool]] = []
    for column in (columns.key_id, columns.outcome, columns.status):
        value = getattr(wanted, column.name)
        if value:
            conditions.append(column == value)
    if wanted.model:
        is_it = (columns.model_asked == wanted.model, columns.model_served == wanted.model)
        conditions.append(sa.or_(*is_it))
    if wanted.account_id:
        # A request names the account of its last attempt; only others need a look at theirs.
        attempt = sa.select(tried.number).where(
            tried.request_id == columns.id, tried.account_id == wanted.account_id
        )
        was_tried = sa.and_(columns.attempts > 1, attempt.exists())
        conditions.append(sa.or_(columns.account_id == wanted.account_id, was_tried))
    return conditions


async def request_of(
    database: Database, request_id: str
) -> tuple[RequestEntry, list[AttemptEntry]] | None:
    """Return a request of any key with its attempts; None when there is no such request."""
    if not 0 < len(request_id) <= _MAX_REPLY_ID or not request_id.isprintable():
        return None
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    found = await _first(database, sa.select(*fields).where(columns.id == request_id))
    return (found, await attempts_of(database, found.id)) if found else None


def request_id_at(at_ms: int) -> str:
    """Return what the ids of all requests from this moment on are not before (core.ids)."""
    return f"req_{at_ms:011x}"


async def find_request(
    database: Database, owner: str, reply_or_request_id: str
) -> tuple[RequestEntry, list[AttemptEntry]] | None:
    """Return one of a key's requests with its attempts, by its id or by that of its reply.

    By the reply's id only the newest 50,000 requests of all keys are searched.
    """
    wanted = reply_or_request_id
    if not 0 < len(wanted) <= _MAX_REPLY_ID or not wanted.isprintable():
        return None
    found = await _first(database, _by_id(wanted, owner))
    found = found or await _first(database, _by_reply_id(wanted, owner))
    return (found, await attempts_of(database, found.id)) if found else None


def _by_id(wanted: str, owner: str) -> sa.Select[tuple[object, ...]]:
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    return sa.select(*fields).where(columns.id == wanted, columns.key_id == owner)


def _by_reply_id(wanted: str, owner: str) -> sa.Select[tuple[object, ...]]:
    """Return a query that walks back from the newest line and stops at the first that fits."""
    columns = tables.requests.c
    fields = [columns[name] for name in RequestEntry._fields]
    newest = sa.select(columns.id).order_by(columns.id.desc())
    oldest = newest.offset(_SEARCHED_REQUESTS - 1).limit(1).scalar_subquery()
    return (
        sa.select(*fields)
        .where(columns.reply_id == wanted, columns.key_id == owner)
        .where(columns.id >= sa.func.coalesce(oldest, ""))
        .order_by(columns.id.desc())
        .limit(1)
    )


async def _first(database: Database, query: sa.Select[tuple[object, ...]]) -> RequestEntry | None:
    async with database.transaction() as connection:
        row = (await connection.execute(query)).first()
    return RequestEntry._make(row) if row else None
