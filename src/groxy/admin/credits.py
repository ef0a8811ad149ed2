"""Credits: give them to a user or take them, statements, top-ups, and codes that are worth some.

In: requests of operators. Out: the books. Each line that an operator enters is in the audit, in the
same transaction. A code is told once, when it is made: it is in no list, audit entry or log line.
"""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.responses import Response

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import without_secrets
from groxy.admin.desk import Desk
from groxy.admin.shapes import Given, Success, Told
from groxy.admin.token_shapes import refused
from groxy.core.amounts import read_usd, usd_text
from groxy.core.ids import new_id
from groxy.core.moments import moment_text
from groxy.observe.logs import get_logger
from groxy.policy.credits import (
    csv_head,
    csv_rows,
    exact,
    read_moment_ms,
    read_signed_usd,
    read_span,
    row_of,
)
from groxy.store.audit import AuditEntry
from groxy.store.codes import (
    MAX_COUNT,
    MAX_NOTE_CHARS,
    Code,
    create_codes,
    list_codes,
    new_batch_id,
    revoke_batch,
    revoke_code,
)
from groxy.store.credits import give_credits
from groxy.store.ledger import Entry, Kind, balances_of, user_side
from groxy.store.statements import Line, read_statement, whole_statement
from groxy.store.topups import TICKS_PER_CENT, Topup, list_topups
from groxy.store.users import find_user

_MOST_CODE_USD = 100_000
_MAX_FROM = 40
_log = get_logger("admin")

AnId = Annotated[str, Query(max_length=128)]
PageSize = Annotated[int, Query(ge=1, le=500)]
Moment = Annotated[str, Query(max_length=_MAX_FROM, examples=["2026-11-25"])]


class CreditsGiven(Given):
    """What a user gets, or (negative) loses."""

    usd: Any = Field(
        description="US dollars, as text or a number; negative takes some. The balance may fall "
        "below zero.",
        examples=["25.00"],
    )
    reason: str = Field(min_length=1, max_length=500, examples=["Prepaid by invoice 17"])


class CreditsTold(Told):
    """What was entered."""

    entry_id: str
    user_id: str
    usd: str = Field(examples=["25"])
    balance: str = Field(description="Since then, in US dollars.", examples=["37.5"])


class EntryTold(Told):
    """One line of a user's statement."""

    time: str
    id: str
    kind: str = Field(examples=["topup"])
    amount_usd: str = Field(description="What it adds to the balance.", examples=["-0.0125"])
    request_id: str
    key_id: str
    note: str


class EntryPage(Told):
    """A user's lines, newest first."""

    balance: str = Field(description="Now, in US dollars.")
    entries: list[EntryTold]
    has_more: bool
    next: str | None = Field(description="Send it as `cursor` for the page that follows.")


class TopupTold(Told):
    """A payment that was begun."""

    id: str
    user_id: str
    provider: str
    reference: str
    amount_usd: str
    refunded_usd: str
    status: str = Field(examples=["paid"])
    created: str
    updated: str


class TopupPage(Told):
    """Payments, newest first."""

    topups: list[TopupTold]
    has_more: bool
    next: str | None = Field(description="Send it as `before` for the page that follows.")


class CodesGiven(Given):
    """A batch of codes."""

    count: int = Field(strict=True, ge=1, le=MAX_COUNT, examples=[10])
    usd: Any = Field(description="What each is worth, as text or a number.", examples=["5"])
    expires_at: str | None = Field(
        default=None, max_length=40, description="RFC 3339, or a day: its beginning, UTC."
    )
    note: str = Field(default="", max_length=MAX_NOTE_CHARS, description="For you.")


class CodesMade(Told):
    """The codes, for the only time."""

    batch: str
    usd: str
    expires_at: str | None
    codes: list[str] = Field(examples=[["GROX-7K2M-9QWE-4RTZ-0H3N"]])
    ids: list[str] = Field(description="Of the codes, in their order.")


class CodeTold(Told):
    """What is to be known of a code; not the code."""

    id: str
    ends_in: str
    batch: str
    usd: str
    state: str = Field(examples=["open"])
    note: str
    created: str
    expires_at: str | None
    redeemed: str | None
    redeemed_by: str = Field(description="A user's id; empty for nobody.")


class CodePage(Told):
    """Codes, newest first."""

    codes: list[CodeTold]
    has_more: bool
    next: str | None = Field(description="Send it as `before` for the page that follows.")


class Revoked(Success):
    """How many codes were revoked."""

    revoked: int


def router(desk: Desk) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["credits"])
    _give(routes, desk)
    _statements(routes, desk)
    _make_codes(routes, desk)
    _revoke_codes(routes, desk)
    return routes


def _give(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/users/{user_id}/credits", summary="Give a user credits, or take some")
    async def add_credits(user_id: str, given: CreditsGiven, actor: Actor) -> CreditsTold:
        ticks = read_signed_usd(given.usd, "usd")
        reason = given.reason.strip()
        if not reason:
            raise refused("`reason` must say why.", param="reason")
        entry = _grant(user_id, ticks, reason, actor)
        audit = _audit(
            actor,
            "credits.give" if ticks > 0 else "credits.take",
            user_id,
            {"usd": usd_text(ticks), "reason": reason, "entry": entry.id},
        )
        moved = await give_credits(desk.database, entry, [audit])
        await desk.reload()  # the gate of this process knows of it when the answer is there
        balance = moved[user_side(user_id)][0]
        return CreditsTold(
            entry_id=entry.id, user_id=user_id, usd=usd_text(ticks), balance=usd_text(balance)
        )

    @routes.get("/topups", summary="Payments that users began, newest first")
    async def get_topups(user: AnId = "", before: AnId = "", limit: PageSize = 50) -> TopupPage:
        found = await list_topups(desk.database, user, before=before, limit=limit + 1)
        page, has_more = found[:limit], len(found) > limit
        return TopupPage(
            topups=[_topup(one) for one in page],
            has_more=has_more,
            next=page[-1].id if has_more else None,
        )


def _statements(routes: APIRouter, desk: Desk) -> None:
    @routes.get(
        "/users/{user_id}/entries",
        summary="A user's statement, newest first; format=csv is all of it as a file",
        response_model=EntryPage,
    )
    async def get_entries(
        user_id: str,
        from_: Annotated[str, Query(alias="from", max_length=_MAX_FROM)] = "",
        to: Moment = "",
        format: Annotated[str, Query(pattern="^(json|csv)$")] = "json",  # noqa: A002  its name
        cursor: AnId = "",
        limit: PageSize = 100,
    ) -> Any:  # noqa: ANN401 - a page, or a file
        span = read_span(from_, to)
        await find_user(desk.database, user_id)
        if format == "csv":
            return _file(whole_statement(desk.database, user_id, span), user_id)
        lines = await read_statement(desk.database, user_id, span, after=cursor, limit=limit + 1)
        side = user_side(user_id)
        balance = (await balances_of(desk.database, [side]))[side][0]
        page, has_more = lines[:limit], len(lines) > limit
        return EntryPage(
            balance=usd_text(balance),
            entries=[_entry(line) for line in page],
            has_more=has_more,
            next=page[-1].cursor if has_more else None,
        )


def _make_codes(routes: APIRouter, desk: Desk) -> None:
    @routes.post("/codes", summary="Make codes; they are told this once")
    async def add_codes(given: CodesGiven, actor: Actor) -> CodesMade:
        ticks = read_usd(exact(given.usd, "usd"), "usd", least_ticks=1, most_usd=_MOST_CODE_USD)
        expires_ms = None
        if given.expires_at is not None:
            expires_ms = read_moment_ms(given.expires_at, "expires_at")
            if expires_ms <= _now_ms():
                raise refused("`expires_at` must be in the future.", param="expires_at")
        batch = new_batch_id()
        expires_at = None if expires_ms is None else moment_text(expires_ms)
        after = {
            "count": given.count,
            "usd": usd_text(ticks),
            "expires_at": expires_at,
            "note": given.note,
        }
        made = await create_codes(
            desk.database,
            desk.secret,
            batch=batch,
            count=given.count,
            ticks=ticks,
            expires_ms=expires_ms,
            note=given.note,
            audit=[_audit(actor, "code.create", batch, after)],
        )
        return CodesMade(
            batch=batch,
            usd=usd_text(ticks),
            expires_at=expires_at,
            codes=[text for text, _ in made],
            ids=[code.id for _, code in made],
        )

    @routes.get("/codes", summary="What became of codes, newest first; of one batch, too")
    async def get_codes(batch: AnId = "", before: AnId = "", limit: PageSize = 50) -> CodePage:
        found = await list_codes(desk.database, before=before, batch=batch, limit=limit + 1)
        page, has_more, now_ms = found[:limit], len(found) > limit, _now_ms()
        return CodePage(
            codes=[_code(one, now_ms) for one in page],
            has_more=has_more,
            next=page[-1].id if has_more else None,
        )


def _revoke_codes(routes: APIRouter, desk: Desk) -> None:
    @routes.delete("/codes/{code_id}", summary="Revoke a code that nobody redeemed")
    async def delete_code(code_id: str, actor: Actor) -> Success:
        await revoke_code(desk.database, code_id, [_audit(actor, "code.revoke", code_id)])
        return Success()

    @routes.delete("/codes", summary="Revoke what nobody redeemed of a batch")
    async def delete_codes(
        batch: Annotated[str, Query(min_length=1, max_length=64)], actor: Actor
    ) -> Revoked:
        audit = _audit(actor, "code.revoke_batch", batch)
        return Revoked(revoked=await revoke_batch(desk.database, batch, [audit]))


def _grant(user_id: str, ticks: int, reason: str, actor: Operator) -> Entry:
    """Return the line that gives a user ticks, or takes them when they are negative."""
    side, is_gift = user_side(user_id), ticks > 0
    return Entry(
        id=f"grant:{actor.request_id or new_id('')}",
        at_ms=_now_ms(),
        kind=(Kind.GRANT if is_gift else Kind.ADJUST).value,
        debit="gifts" if is_gift else side,
        credit=side if is_gift else "adjustments",
        ticks=abs(ticks),
        user_id=user_id,
        key_id="",
        request_id=actor.request_id,
        note=reason,
    )


def _audit(actor: Operator, action: str, target: str, after: object = None) -> AuditEntry:
    """Return an audit entry for the transaction of the act itself, and log the act."""
    entry = AuditEntry(
        actor=f"{actor.name} ({actor.key_id})",
        action=action,
        target=without_secrets(target),
        after=without_secrets(after),
        request_id=actor.request_id,
    )
    _log.info("operator acted", actor=entry.actor, action=action, target=entry.target)
    return entry


def _file(pages: AsyncIterator[list[Line]], user_id: str) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield csv_head()
        async for page in pages:
            yield csv_rows(page)

    name = "".join(sign for sign in user_id if sign.isalnum() or sign == "_")
    headers = {
        "content-disposition": f'attachment; filename="statement-{name}.csv"',
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(body(), media_type="text/csv; charset=utf-8", headers=headers)


def _entry(line: Line) -> EntryTold:
    row = row_of(line)
    return EntryTold(**{name: getattr(row, name) for name in EntryTold.model_fields})


def _topup(topup: Topup) -> TopupTold:
    refunded = topup.refunded * TICKS_PER_CENT
    return TopupTold(
        id=topup.id,
        user_id=topup.user_id,
        provider=topup.provider,
        reference=topup.reference,
        amount_usd=usd_text(topup.ticks),
        refunded_usd=usd_text(refunded),
        status=topup.status.value,
        created=moment_text(topup.created_ms),
        updated=moment_text(topup.updated_ms),
    )


def _code(code: Code, now_ms: int) -> CodeTold:
    return CodeTold(
        id=code.id,
        ends_in=code.hint,
        batch=code.batch,
        usd=usd_text(code.ticks),
        state=code.state(now_ms).value,
        note=code.note,
        created=moment_text(code.created_ms),
        expires_at=None if code.expires_ms is None else moment_text(code.expires_ms),
        redeemed=None if code.redeemed_ms is None else moment_text(code.redeemed_ms),
        redeemed_by=code.redeemed_by,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
