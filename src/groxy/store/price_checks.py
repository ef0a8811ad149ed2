"""What the books say about prices: bills against the list, and who used a model how much.

In: a stretch of time. Out: sums, made by the database, because a stretch may have millions of
lines. It prices nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, CHUNK_ROWS, Database, chunks
from groxy.store.entries import request_id_at

MAX_MODELS = 5_000
"""How many names of models are told apart; callers and upstreams choose some of them."""
_BILLED = "upstream"
_EMPTY: sa.ColumnElement[str] = sa.literal_column("''")
"""No parameter: PostgreSQL would take two for different, in what is told and what it is told by."""

_attempts, _requests = tables.attempts.c, tables.requests.c


class Billed(NamedTuple):
    """What upstreams billed for one model, by the name that they gave it."""

    model: str
    attempts: int
    billed_ticks: int
    list_ticks: int
    """What the list asks for the same attempts."""
    unlisted: int
    """Attempts beside these that were billed, while the list had no price."""
    unlisted_ticks: int


class Used(NamedTuple):
    """What one key used of a model, in requests that are alike in all that a price looks at."""

    user_id: str
    plan_id: str
    """The user's own plan; empty for none."""
    key_id: str
    is_long: bool
    """True for requests whose input reaches the bound that was asked for."""
    is_billed: bool
    """True for requests that the upstream gave its own bill for."""
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_ticks: int
    charge_ticks: int


async def bills(database: Database, since_ms: int) -> list[Billed]:
    """Return what upstreams billed since a moment, and what the list asks for the same."""
    model = _served(_attempts.model_served, _attempts.model_sent)
    is_listed = _attempts.list_ticks > 0

    def sum_if(condition: sa.ColumnElement[bool], value: object) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, value), else_=0)), 0)

    counted = sum_if(is_listed, 1)
    query = (
        sa.select(
            model,
            counted,
            sum_if(is_listed, _attempts.cost_ticks),
            sum_if(is_listed, _attempts.list_ticks),
            sum_if(~is_listed, 1),
            sum_if(~is_listed, _attempts.cost_ticks),
        )
        .where(
            _attempts.request_id >= request_id_at(since_ms),
            _attempts.cost_source == _BILLED,
            # An answer from a cache is billed with nothing, and the list asks nothing for it.
            sa.or_(is_listed, _attempts.cost_ticks > 0),
        )
        .group_by(model)
        .order_by(counted.desc())
        .limit(MAX_MODELS)
    )
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        rows = (await connection.execute(query)).all()
    return [Billed(row[0], *map(int, row[1:])) for row in rows]


async def served_models(database: Database, since_ms: int) -> list[str]:
    """Return the names of all models that served since a moment."""
    model = _served(_requests.model_served, _requests.model_sent)
    query = sa.select(model).where(_requests.id >= request_id_at(since_ms), model != "")
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        rows = await connection.execute(query.group_by(model).limit(MAX_MODELS))
        return [row[0] for row in rows]


async def usage_of(
    database: Database, models: Sequence[str], since_ms: int, *, long_from_tokens: int = 0
) -> list[Used]:
    """Return who used models, by the names that served, since a moment.

    Only requests that somebody owed something for. `long_from_tokens` parts them by their input;
    0 for no such bound.
    """
    found: list[Used] = []
    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        for some in chunks(models, CHUNK_ROWS // 2):
            rows = await connection.execute(_usage_query(some, since_ms, long_from_tokens))
            for user_id, plan_id, key_id, is_long, is_billed, *sums in rows:
                named = (user_id, plan_id, key_id, bool(is_long), bool(is_billed))
                found.append(Used(*named, *map(int, sums)))
    return found


def _usage_query(models: Sequence[str], since_ms: int, long_from_tokens: int) -> sa.Select[Any]:
    users = tables.users.c
    plan = sa.func.coalesce(users.plan_id, "")
    long_from = sa.literal(long_from_tokens, sa.BigInteger)
    is_long = sa.case((sa.and_(long_from > 0, _requests.input_tokens >= long_from), 1), else_=0)
    billed = sa.select(_attempts.number).where(
        _attempts.request_id == _requests.id,
        _attempts.account_id == _requests.account_id,
        _attempts.cost_ticks == _requests.cost_ticks,
        _attempts.cost_source == _BILLED,
    )
    is_billed = sa.case((billed.exists(), 1), else_=0)
    sums = ("input", "cached", "output", "reasoning")
    lines = (
        sa.select(
            _requests.user_id,
            plan.label("plan_id"),
            _requests.key_id,
            is_long.label("is_long"),
            is_billed.label("is_billed"),
            *(_requests[f"{name}_tokens"] for name in sums),
            _requests.cost_ticks,
            _requests.charge_ticks,
        )
        .select_from(tables.requests.outerjoin(tables.users, users.id == _requests.user_id))
        .where(
            _requests.id >= request_id_at(since_ms),
            _served(_requests.model_served, _requests.model_sent).in_(models),
            _requests.input_tokens + _requests.output_tokens > 0,
        )
        .subquery()
    ).c
    whose = (lines.user_id, lines.plan_id, lines.key_id, lines.is_long, lines.is_billed)
    added = (*(lines[f"{name}_tokens"] for name in sums), lines.cost_ticks, lines.charge_ticks)
    return sa.select(*whose, sa.func.count(), *(sa.func.sum(column) for column in added)).group_by(
        *whose
    )


def _served(served: sa.ColumnElement[str], sent: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return the name that served; where the upstream gave none, the one that was sent."""
    return sa.func.coalesce(sa.func.nullif(served, _EMPTY), sent)
