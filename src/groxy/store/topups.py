"""Top-ups: what users bought from a provider of payments, and what was taken back of it.

In: a top-up that was begun, and what the provider tells of it, in any order and any number of
times. Out: lines of money, each once, and what became of each event. An event counts only for a
top-up that is stored, and only in its own currency and amount; it is noted in any case.

What is told of one payment (refunds, disputes) is kept in a row of `payment_events` of its own,
`payment:<id>`: whoever handles an event of it holds that row, so that others wait, and what is told
before the payment itself is not lost. From it follows how much has to be taken back in all; the
difference to what was taken is entered.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.money import TICKS_PER_USD
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.ledger import Entry, Kind, enter, user_side

STRIPE = "stripe"
"""The provider, and the side of the books that its money comes from."""
CURRENCY = "usd"
TICKS_PER_CENT = TICKS_PER_USD // 100
MAX_PAGE = 1_000
_MAX_ENTRY_ID = 96

_topups = tables.topups.c
_events = tables.payment_events.c


class TopupStatus(Enum):
    """What became of a top-up. One that was taken back stays paid: `refunded` says how much."""

    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topup:
    """A top-up as the database knows it."""

    id: str
    user_id: str
    provider: str
    reference: str
    """What the provider calls it: the id of a Checkout Session."""
    currency: str
    amount: int
    """In cents."""
    refunded: int
    """Of the amount, what was taken back by refunds and disputes."""
    ticks: int
    status: TopupStatus
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A provider's message. Its id is the same each time that it is sent."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A Checkout Session was paid."""

    reference: str
    payment_id: str
    topup_id: str
    user_id: str
    currency: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A Checkout Session ended without money."""

    reference: str
    status: TopupStatus


class Cause(Enum):
    """Why something is taken back."""

    REFUND = "refund"
    DISPUTE = "dispute"
    TOLD = "told"
    """A charge says how much of it was refunded in all, without naming the refunds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """Money of a payment goes back to who paid, or (`is_undone`) does not after all."""

    cause: Cause
    id: str
    payment_id: str
    currency: str
    amount: int
    is_undone: bool = False
    """A refund failed, a dispute was won."""


Fact = Paid | Over | TakenBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an event."""

    text: str
    is_doubtful: bool = False
    """True when it does not fit to what is stored, and so counted for nothing."""
    balances: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Ticks and seq of the balances that it moved."""


SEEN = Outcome(text="seen before")
NOT_NEEDED = Outcome(text="not needed")
UNREADABLE = Outcome(text="unreadable", is_doubtful=True)
"""It is not what it should be."""


async def open_topup(
    database: Database, *, topup_id: str, user_id: str, reference: str, amount: int
) -> Topup:
    """Store a top-up of so many cents that was begun at the provider."""
    now_ms = _now_ms()
    topup = Topup(
        id=topup_id,
        user_id=user_id,
        provider=STRIPE,
        reference=reference,
        currency=CURRENCY,
        amount=amount,
        refunded=0,
        ticks=amount * TICKS_PER_CENT,
        status=TopupStatus.OPEN,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    row = {name: getattr(topup, name) for name in _NAMES} | {"status": topup.status.value}
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.topups).values(row))
    return topup


async def list_topups(
    database: Database, user_id: str = "", *, before: str = "", limit: int = 50
) -> list[Topup]:
    """Return top-ups, newest first: those older than the id `before`, of a user or of all."""
    if not (user_id.isprintable() and before.isprintable()):  # PostgreSQL takes no NUL
        return []
    query = sa.select(tables.topups).order_by(_topups.id.desc())
    if user_id:
        query = query.where(_topups.user_id == user_id)
    if before:
        query = query.where(_topups.id < before)
    async with database.transaction() as connection:
        rows = await connection.execute(query.limit(min(max(limit, 1), MAX_PAGE)))
        return [_topup(row) for row in rows.mappings()]


async def record_event(
    database: Database, event: Event, fact: Fact | None, *, otherwise: Outcome = NOT_NEEDED
) -> Outcome:
    """Note an event and let it count, once; `otherwise` is what becomes of one without a fact."""
    async with database.transaction() as connection:
        fresh = await connection.execute(
            _NOTE, {"id": event.id, "kind": event.kind[:64], "at_ms": _now_ms()}
        )
        if fresh.first() is None:
            return SEEN
        outcome = otherwise if fact is None else await _applied(connection, fact)
        noted = sa.update(tables.payment_events).where(_events.id == event.id)
        await connection.execute(noted.values(outcome=outcome.text))
    return outcome


async def _applied(connection: AsyncConnection, fact: Fact) -> Outcome:
    match fact:
        case Paid():
            return await _pay(connection, fact)
        case Over():
            return await _end(connection, fact)
        case TakenBack():
            return await _take_back(connection, fact)


# ------------------------------------------------------------------------------------ one payment


class _Thing(msgspec.Struct):
    """A refund, a dispute, or what a charge tells of its refunds."""

    cause: str
    currency: str
    amount: int
    is_undone: bool = False


class _Payment(msgspec.Struct):
    """What is known of one payment."""

    topup_id: str = ""
    """Empty before it is known to be one of ours."""
    things: dict[str, _Thing] = {}

    def take_note(self, fact: TakenBack) -> None:
        """Take note of a fact. What was undone once stays so, in whatever order one hears of it."""
        known = self.things.setdefault(
            fact.id, _Thing(fact.cause.value, fact.currency, fact.amount)
        )
        known.is_undone = known.is_undone or fact.is_undone
        if fact.cause is Cause.TOLD:
            known.amount = max(known.amount, fact.amount)

    def to_take(self, topup: Topup) -> int:
        """Return how many cents have to be taken back in all: never more than was paid."""
        refunds, undone, told, disputes = 0, 0, 0, 0
        for thing in self.things.values():
            if thing.currency != topup.currency:
                continue
            cause = Cause(thing.cause)
            if cause is Cause.TOLD:
                told = max(told, thing.amount)
            elif cause is Cause.REFUND and thing.is_undone:
                undone += thing.amount
            elif cause is Cause.REFUND:
                refunds += thing.amount
            elif not thing.is_undone:
                disputes += thing.amount
        # A charge counts its refunds together: those that are named are among them.
        return min(max(refunds, told - undone) + disputes, topup.amount)


_payments = msgspec.json.Decoder(_Payment)


async def _pay(connection: AsyncConnection, paid: Paid) -> Outcome:
    name = _entry_id("payment", paid.payment_id or paid.reference)
    payment = await _open_payment(connection, name)
    topup = await _find(connection, _topups.reference == paid.reference)
    if topup is None:
        return Outcome(text="unknown session", is_doubtful=True)
    if unfit := _unfit(topup, paid):
        return Outcome(text=unfit, is_doubtful=True)
    if topup.status is TopupStatus.PAID:
        return Outcome(text="paid before")
    payment.topup_id = topup.id
    entries = [
        _entry(
            topup,
            _entry_id("stripe", topup.reference),
            cents=topup.amount,
            kind=Kind.TOPUP,
            note=f"top-up {topup.id}",
        ),
        *_early(topup, payment),
    ]
    await _close_payment(connection, name, payment)
    values = {"status": TopupStatus.PAID.value, "refunded": payment.to_take(topup)}
    await _change(connection, topup, values)
    return Outcome(text="credited", balances=await enter(connection, entries))


async def _end(connection: AsyncConnection, over: Over) -> Outcome:
    topup = await _find(connection, _topups.reference == over.reference)
    if topup is None:
        return Outcome(text="unknown session", is_doubtful=True)
    if topup.status is not TopupStatus.OPEN:
        return Outcome(text=f"{topup.status.value} before")
    await _change(connection, topup, {"status": over.status.value})
    return Outcome(text=over.status.value)


async def _take_back(connection: AsyncConnection, fact: TakenBack) -> Outcome:
    name = _entry_id("payment", fact.payment_id)
    payment = await _open_payment(connection, name)
    payment.take_note(fact)
    await _close_payment(connection, name, payment)
    topup = None
    if payment.topup_id:
        topup = await _find(connection, _topups.id == payment.topup_id)
    if topup is None:
        # It may be told before the payment is, or belong to something else that is sold.
        return Outcome(text="waits for its payment")
    if fact.currency != topup.currency:
        return Outcome(text="other currency", is_doubtful=True)
    cents = payment.to_take(topup) - topup.refunded
    if not cents:
        return Outcome(text="nothing to take back")
    await _change(connection, topup, {"refunded": topup.refunded + cents})
    balances = await enter(connection, [_taking(topup, fact.id, payment.things[fact.id], cents)])
    return Outcome(text="taken back" if cents > 0 else "given back", balances=balances)


def _unfit(topup: Topup, paid: Paid) -> str:
    """Return what of a payment is not as it was begun; empty when all is."""
    if paid.user_id != topup.user_id or paid.topup_id != topup.id:
        return "other user"
    if paid.currency != topup.currency:
        return "other currency"
    return "" if paid.amount == topup.amount else "other amount"


def _early(topup: Topup, payment: _Payment) -> Iterator[Entry]:
    """Yield the lines for what was told before the payment was."""
    so_far, taken = _Payment(), 0
    for name, thing in payment.things.items():
        so_far.things[name] = thing
        cents = so_far.to_take(topup) - taken
        if cents > 0:
            yield _taking(topup, name, thing, cents)
            taken += cents


def _taking(topup: Topup, name: str, thing: _Thing, cents: int) -> Entry:
    """Return the line that takes cents back, or gives them back when they are negative."""
    cause = Cause(thing.cause)
    word = Cause.DISPUTE.value if cause is Cause.DISPUTE else Cause.REFUND.value
    if cents < 0:
        end = "won" if cause is Cause.DISPUTE else "failed"
        entry_id = _entry_id(f"stripe-{word}-{end}", name)
        return _entry(topup, entry_id, cents=-cents, kind=Kind.ADJUST, note=f"{word} {end}")
    if cause is Cause.TOLD:
        name = f"{name}:{thing.amount}"  # a charge tells more and more; each part counts once
    line = _entry(
        topup,
        _entry_id(f"stripe-{word}", name),
        cents=cents,
        kind=Kind.REFUND,
        note=f"{word} of top-up {topup.id}",
    )
    return line._replace(debit=line.credit, credit=line.debit)


def _entry(topup: Topup, entry_id: str, *, cents: int, kind: Kind, note: str) -> Entry:
    return Entry(
        id=entry_id,
        at_ms=_now_ms(),
        kind=kind.value,
        debit=STRIPE,
        credit=user_side(topup.user_id),
        ticks=cents * TICKS_PER_CENT,
        user_id=topup.user_id,
        key_id="",
        request_id="",
        note=note,
    )


def _entry_id(prefix: str, name: str) -> str:
    """Return the id of a cause; Stripe's ids may have 255 characters (docs.stripe.com, 2026)."""
    found = f"{prefix}:{name}"
    if len(found) <= _MAX_ENTRY_ID:
        return found
    return f"{prefix}:sha256-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


async def _open_payment(connection: AsyncConnection, name: str) -> _Payment:
    """Return what is known of a payment, and let nobody else change it until the end."""
    row = await connection.execute(_HOLD, {"id": name, "at_ms": _now_ms()})
    return _payments.decode(row.scalar_one())


async def _close_payment(connection: AsyncConnection, name: str, payment: _Payment) -> None:
    change = sa.update(tables.payment_events).where(_events.id == name)
    await connection.execute(change.values(outcome=msgspec.json.encode(payment).decode()))


async def _find(connection: AsyncConnection, condition: sa.ColumnElement[bool]) -> Topup | None:
    query = sa.select(tables.topups).where(_topups.provider == STRIPE, condition)
    row = (await connection.execute(query.with_for_update())).mappings().first()
    return None if row is None else _topup(row)


async def _change(connection: AsyncConnection, topup: Topup, values: dict[str, Any]) -> None:
    change = sa.update(tables.topups).where(_topups.id == topup.id)
    await connection.execute(change.values(**values, updated_ms=_now_ms()))


def _topup(row: sa.RowMapping) -> Topup:
    return Topup(**{**row, "status": TopupStatus(row["status"])})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_NAMES = [column.name for column in tables.topups.c]
_NOTE = sa.text(
    "INSERT INTO payment_events (id, provider, kind, outcome, at_ms) "
    "VALUES (:id, 'stripe', :kind, '', :at_ms) ON CONFLICT (id) DO NOTHING RETURNING id"
)
_HOLD = sa.text(
    "INSERT INTO payment_events (id, provider, kind, outcome, at_ms) "
    "VALUES (:id, 'stripe', 'payment', '{}', :at_ms) "
    "ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms RETURNING outcome"
)
