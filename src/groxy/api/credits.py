"""Credits: GET /v1/credits, /v1/key and /v1/credits/statement, POST /v1/credits/redeem.

In: a key, or the session of somebody who is logged in. Out: the books of that user alone;
/v1/credits and /v1/key in OpenRouter's shapes (OpenRouterTeam/docs, November 2026). Amounts are
exact: a number of JSON is written from the ticks, without a float in between.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from groxy.api.owners import Registry
from groxy.api.text import identify
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Rates
from groxy.policy.credits import csv_head, csv_rows, read_span, require_turn, row_of
from groxy.policy.keys import Caller
from groxy.policy.sessions import presented_session
from groxy.store.codes import MAX_CODE_CHARS, redeem_code
from groxy.store.database import Database
from groxy.store.ledger import Balances, balances_of, user_side
from groxy.store.statements import (
    KeyUsage,
    Line,
    Span,
    charged_ticks,
    held_ticks,
    key_usage,
    read_statement,
    whole_statement,
)
from groxy.wire.asgi import Receive, Scope, Send, query_of, read_body, respond
from groxy.wire.json import decode_request, decoder, encode

REDEEMS_A_MINUTE = 10
_MAX_BODY_BYTES = 16 * 1024
_MAX_PAGE = 500
_INTERVAL = "60s"
_NO_RATES = Rates()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whose credits it is about."""

    user_id: str
    key_id: str = ""
    """Empty for somebody who is logged in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What endpoints about credits work with."""

    registry: Registry
    learn: Callable[[Balances], Awaitable[None]]
    """Tells the gate of balances that were moved."""

    @property
    def database(self) -> Database:
        """The books."""
        return self.registry.database

    async def payer(self, scope: Scope) -> Payer:
        """Return who asks: a user by session or key.

        Raises BAD_KEY, FORBIDDEN, and NOT_FOUND (`no_balance`) for a key that belongs to nobody.
        """
        registry = self.registry
        if presented_session(scope, registry.app_url()) is not None:
            return Payer(user_id=(await registry.session(scope)).user.id)
        caller = identify(registry.keyring, scope)
        if not caller.user_id:
            message = "This key belongs to no user, so it has no credits, and pays nothing."
            raise GroxyError(ErrorKind.NOT_FOUND, message, code="no_balance")
        return Payer(user_id=caller.user_id, key_id=caller.key_id)


class _Code(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=MAX_CODE_CHARS)]


_codes = decoder(_Code)


class Credits:
    """The endpoints, each a method."""

    def __init__(self, purse: Purse) -> None:
        self._purse = purse

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell what was bought, what was used, and the balance."""
        del receive
        purse, database = self._purse, self._purse.database
        payer = await purse.payer(scope)
        side = user_side(payer.user_id)
        balance = (await balances_of(database, [side]))[side][0]
        used = await charged_ticks(database, payer.user_id)
        held = await held_ticks(database, payer.user_id)
        data = {
            "total_credits": number(balance + held + used),
            "total_usage": number(used),
            "balance": number(balance),
            "held": number(held),
        }
        await respond(send, 200, encode({"data": data}))

    async def redeem(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redeem a code."""
        purse = self._purse
        payer = await purse.payer(scope)
        given = decode_request(await read_body(scope, receive, limit=_MAX_BODY_BYTES), _codes)
        await require_turn(purse.registry.ask, f"redeem:{payer.user_id}", REDEEMS_A_MINUTE)
        redeemed = await redeem_code(
            purse.database,
            purse.registry.secret,
            given.code,
            user_id=payer.user_id,
            key_id=payer.key_id,
        )
        await purse.learn(redeemed.balances)
        data = {
            "id": redeemed.code_id,
            "amount": number(redeemed.ticks),
            "balance": number(redeemed.balance_ticks),
        }
        await respond(send, 200, encode({"data": data}))

    async def statement(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the lines of the books that moved the balance, newest first."""
        del receive
        payer = await self._purse.payer(scope)
        await send_statement(self._purse.database, payer.user_id, scope, send)

    async def key(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell what the key may spend, and has spent."""
        del receive
        caller = identify(self._purse.registry.keyring, scope)
        now = datetime.fromtimestamp(time.time_ns() / 1e9, UTC).date()
        usage = await key_usage(
            self._purse.database,
            caller.key_id,
            day=int(f"{now:%Y%m%d}"),
            week=int(f"{now - timedelta(days=now.weekday()):%Y%m%d}"),
            month=int(f"{now.replace(day=1):%Y%m%d}"),
            is_charged=bool(caller.user_id) or any(_caps_of(caller)),
        )
        await respond(send, 200, encode({"data": key_told(caller, usage)}))


def number(ticks: int) -> msgspec.Raw:
    """Return ticks as a number of JSON in US dollars, exactly."""
    return msgspec.Raw(usd_text(ticks).encode())


def key_told(caller: Caller, usage: KeyUsage) -> dict[str, Any]:
    """Return a key in OpenRouter's shape. Of several caps the one with the least left is told."""
    spent = (usage.total, usage.day, usage.week, usage.month)
    left = [
        (max(cap - used, 0), cap, word)
        for cap, used, word in zip(_caps_of(caller), spent, _RESETS, strict=True)
        if cap is not None
    ]
    remaining, limit, reset = min(left, key=lambda one: one[0]) if left else (None, None, None)
    plan = caller.plan.grant
    rates = caller.grant.rates if caller.grant.rates != _NO_RATES else plan.key_rates
    return {
        "label": caller.name,
        "usage": number(usage.total),
        "usage_daily": number(usage.day),
        "usage_weekly": number(usage.week),
        "usage_monthly": number(usage.month),
        "limit": None if limit is None else number(limit),
        "limit_remaining": None if remaining is None else number(remaining),
        "limit_reset": reset,
        "is_free_tier": False,
        "is_provisioning_key": caller.grant.is_provisioning,
        "rate_limit": {"requests": rates.requests or -1, "interval": _INTERVAL},
    }


_RESETS = (None, "daily", "weekly", "monthly")


def _caps_of(caller: Caller) -> tuple[int | None, ...]:
    caps = caller.grant.caps
    return caps.total, caps.day, caps.week, caps.month


# -------------------------------------------------------------------------------------- statements


async def send_statement(database: Database, user_id: str, scope: Scope, send: Send) -> None:
    """Answer with a user's statement, as the query asks: `from`, `to`, `format`, `cursor`, `limit`.

    JSON comes in pages; CSV is whole, and sent while it is read.
    """
    given = query_of(scope)
    span = read_span(given.get("from", ""), given.get("to", ""))
    match given.get("format", "json"):
        case "json":
            await _send_page(database, user_id, span, given, send)
        case "csv":
            await _send_csv(whole_statement(database, user_id, span), send)
        case _:
            message = "`format` must be json or csv."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="format")


async def _send_page(
    database: Database, user_id: str, span: Span, given: dict[str, str], send: Send
) -> None:
    limit = _limit_of(given.get("limit", "100"))
    after = given.get("cursor", "")
    lines = await read_statement(database, user_id, span, after=after, limit=limit + 1)
    page, has_more = lines[:limit], len(lines) > limit
    told = {
        "data": [row_of(line) for line in page],
        "has_more": has_more,
        "next": page[-1].cursor if has_more else None,
    }
    await respond(send, 200, encode(told))


async def _send_csv(pages: AsyncGenerator[list[Line]], send: Send) -> None:
    # Read before the answer begins: a database that is away is told as an error, not half a file.
    first: list[Line] = await anext(pages, [])
    headers = [
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", b'attachment; filename="statement.csv"'),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = csv_head() + csv_rows(first)
    await send({"type": "http.response.body", "body": body, "more_body": True})
    async for page in pages:
        await send({"type": "http.response.body", "body": csv_rows(page), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _limit_of(text: str) -> int:
    if (
        not text.isascii()
        or not text.isdecimal()
        or not 1 <= int(text[:9]) <= _MAX_PAGE
        or len(text) > 9
    ):
        message = f"`limit` must be a whole number from 1 to {_MAX_PAGE}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="limit")
    return int(text)
