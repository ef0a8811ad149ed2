"""Stripe's messages: their signature, and what they mean for top-ups.

In: the raw body and its `Stripe-Signature`. Out: an event and a fact for the books, or BAD_REQUEST
for what Stripe did not sign. It changes nothing, and believes nothing of a message that it cannot
read strictly: amounts are whole numbers of cents. Facts: docs.stripe.com/api (events, checkout
sessions, refunds, disputes), November 2026.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.topups import Cause, Event, Fact, Over, Paid, TakenBack, TopupStatus
from groxy.wire.json import UNREADABLE

TOLERANCE_S = 300
"""How old a signature may be."""

_Id = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
_Currency = Annotated[str, Meta(max_length=8)]
_Cents = Annotated[int, Meta(ge=0, le=10**12)]


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Message(msgspec.Struct):
    id: _Id
    type: Annotated[str, Meta(max_length=100)]
    data: _Data


class _Session(msgspec.Struct):
    id: _Id
    mode: str = ""
    payment_status: str = ""
    currency: _Currency | None = None
    amount_total: _Cents | None = None
    client_reference_id: str | None = None
    payment_intent: _Id | None = None
    metadata: dict[str, str] | None = None


class _Refund(msgspec.Struct):
    """A refund or a dispute."""

    id: _Id
    amount: _Cents
    currency: _Currency
    status: str | None = None
    payment_intent: _Id | None = None


class _Charge(msgspec.Struct):
    id: _Id
    amount_refunded: _Cents
    currency: _Currency
    payment_intent: _Id | None = None


_messages = msgspec.json.Decoder(_Message)
_sessions = msgspec.json.Decoder(_Session)
_refunds = msgspec.json.Decoder(_Refund)
_charges = msgspec.json.Decoder(_Charge)

USER, TOPUP = "groxy_user", "groxy_topup"
"""What our sessions carry in their metadata."""
_REFUNDS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"})
_DISPUTES = frozenset(
    {
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    }
)
_FAILED = frozenset({"failed", "canceled"})
_SESSIONS = "checkout.session."


class UnreadableError(Exception):
    """Stripe signed it, but it is not what it should be."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.kind)
        self.event = event


def verify_event(body: bytes, signature: str | None, secret: str) -> None:
    """Raise BAD_REQUEST (`signature_invalid`) unless Stripe signed this body in the last minutes.

    Imports `stripe`, which takes its time: call it in a thread.
    """
    import stripe  # noqa: PLC0415 - takes 0.3 s, and few gateways need it

    try:
        # It also reads the body as JSON, which a strict reader does again below.
        stripe.Webhook.construct_event(body, signature, secret, tolerance=TOLERANCE_S)
    except (stripe.SignatureVerificationError, ValueError, TypeError, AttributeError):
        message = (
            "The signature of this message is not valid. Check billing.stripe_webhook_secret and "
            "this machine's clock."
        )
        raise GroxyError(
            ErrorKind.BAD_REQUEST, message, param="stripe-signature", code="signature_invalid"
        ) from None


def read_event(body: bytes) -> tuple[Event, Fact | None]:
    """Return what a signed message says; no fact for one that means nothing here.

    Raises BAD_REQUEST for what is no event, and `UnreadableError` for one that is not as it is
    documented.
    """
    try:
        message = _messages.decode(body)
    except UNREADABLE:
        raise GroxyError(ErrorKind.BAD_REQUEST, "This message is no event of Stripe.") from None
    event = Event(id=message.id, kind=message.type)
    try:
        return event, _fact_of(message.type, message.data.object)
    except UNREADABLE:
        raise UnreadableError(event) from None


def _fact_of(kind: str, content: msgspec.Raw) -> Fact | None:
    if kind.startswith(_SESSIONS):
        return _fact_of_session(kind.removeprefix(_SESSIONS), _sessions.decode(content))
    if kind in _REFUNDS:
        refund = _refunds.decode(content)
        return _taken(Cause.REFUND, refund, is_undone=(refund.status or "") in _FAILED)
    if kind in _DISPUTES:
        return _fact_of_dispute(_refunds.decode(content))
    if kind == "charge.refunded":
        charge = _charges.decode(content)
        if charge.payment_intent is None:
            return None
        return TakenBack(
            cause=Cause.TOLD,
            id=charge.id,
            payment_id=charge.payment_intent,
            currency=charge.currency,
            amount=charge.amount_refunded,
        )
    return None


def _fact_of_session(event: str, session: _Session) -> Fact | None:
    if event == "expired":
        return Over(reference=session.id, status=TopupStatus.EXPIRED)
    if event == "async_payment_failed":
        return Over(reference=session.id, status=TopupStatus.FAILED)
    if event not in ("completed", "async_payment_succeeded"):
        return None
    if session.payment_status != "paid" or session.mode not in ("payment", ""):
        return None  # `unpaid`: the bank takes its time, and another event tells the end
    metadata = session.metadata or {}
    topup_id = metadata.get(TOPUP, "")
    return Paid(
        reference=session.id,
        payment_id=session.payment_intent or "",
        topup_id=topup_id if topup_id == session.client_reference_id else "",
        user_id=metadata.get(USER, ""),
        currency=session.currency or "",
        amount=-1 if session.amount_total is None else session.amount_total,
    )


def _fact_of_dispute(dispute: _Refund) -> Fact | None:
    status = dispute.status or ""
    if status.startswith("warning_"):
        return None  # an inquiry: no money has moved, and another event tells if some does
    return _taken(Cause.DISPUTE, dispute, is_undone=status == "won")


def _taken(cause: Cause, thing: _Refund, *, is_undone: bool) -> Fact | None:
    if thing.payment_intent is None:
        return None
    return TakenBack(
        cause=cause,
        id=thing.id,
        payment_id=thing.payment_intent,
        currency=thing.currency,
        amount=thing.amount,
        is_undone=is_undone,
    )
