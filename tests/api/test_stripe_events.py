import pytest

from groxy.api.stripe_events import UnreadableError, read_event, verify_event
from groxy.core.errors import GroxyError
from groxy.store.topups import Cause, Over, Paid, TakenBack, TopupStatus
from tests.api.stripe_server import SIGNING, event, signed

SESSION = {
    "id": "cs_1",
    "mode": "payment",
    "payment_status": "paid",
    "amount_total": 2000,
    "currency": "usd",
    "client_reference_id": "top_1",
    "payment_intent": "pi_1",
    "metadata": {"groxy_topup": "top_1", "groxy_user": "usr_1"},
}
REFUND = {"id": "re_1", "amount": 500, "currency": "usd", "payment_intent": "pi_1"}


def fact_of(kind, content):
    told, fact = read_event(event(kind, content, "evt_1"))
    assert (told.id, told.kind) == ("evt_1", kind)
    return fact


def test_a_session_that_is_paid_says_who_paid_what():
    assert fact_of("checkout.session.completed", SESSION) == Paid(
        reference="cs_1",
        payment_id="pi_1",
        topup_id="top_1",
        user_id="usr_1",
        currency="usd",
        amount=2000,
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [("expired", TopupStatus.EXPIRED), ("async_payment_failed", TopupStatus.FAILED)],
)
def test_a_session_that_is_over_says_how(kind, status):
    assert fact_of(f"checkout.session.{kind}", SESSION) == Over(reference="cs_1", status=status)


@pytest.mark.parametrize(
    ("kind", "status", "cause", "is_undone"),
    [
        ("refund.created", "pending", Cause.REFUND, False),
        ("refund.created", "succeeded", Cause.REFUND, False),
        ("refund.updated", "requires_action", Cause.REFUND, False),
        ("refund.failed", "failed", Cause.REFUND, True),
        ("refund.updated", "canceled", Cause.REFUND, True),
        ("charge.dispute.created", "needs_response", Cause.DISPUTE, False),
        ("charge.dispute.closed", "lost", Cause.DISPUTE, False),
        ("charge.dispute.closed", "won", Cause.DISPUTE, True),
    ],
)
def test_what_goes_back_says_why(kind, status, cause, is_undone):
    assert fact_of(kind, {**REFUND, "status": status}) == TakenBack(
        cause=cause,
        id="re_1",
        payment_id="pi_1",
        currency="usd",
        amount=500,
        is_undone=is_undone,
    )


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("checkout.session.completed", {**SESSION, "payment_status": "unpaid"}),
        ("checkout.session.created", SESSION),
        ("charge.dispute.created", {**REFUND, "status": "warning_needs_response"}),
        ("charge.dispute.closed", {**REFUND, "status": "warning_closed"}),
        ("refund.created", {**REFUND, "payment_intent": None}),
        ("invoice.paid", {"anything": [1, 2]}),
    ],
)
def test_what_moves_no_money_of_ours_is_no_fact(kind, content):
    assert fact_of(kind, content) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 5.5},
        {"amount": "500"},
        {"amount": True},
        {"amount": -1},
        {"amount": 2**64},
        {"amount": None},
        {"id": ""},
        {"id": "re 1"},
        {"id": "re_\0"},
        {"id": "x" * 201},
        {"currency": 5},
        {"payment_intent": {"id": "pi_1"}},
    ],
    ids=repr,
)
def test_what_is_not_as_documented_is_unreadable(changes):
    with pytest.raises(UnreadableError) as caught:
        fact_of("refund.created", {**REFUND, **changes})
    assert caught.value.event.id == "evt_1"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"NaN", b'{"id":"e","type":"t"}', b'{"id":"e\\u0000","type":"t"}']
)
def test_what_is_no_event_is_refused(body):
    with pytest.raises(GroxyError):
        read_event(body)


def test_a_signature_is_of_the_bytes_as_they_came():
    body = event("refund.created", REFUND, "evt_1")
    verify_event(body, signed(body), SIGNING)

    for other, signature in ((body + b"\n", signed(body)), (body, None), (b"\xff", signed(body))):
        with pytest.raises(GroxyError) as caught:
            verify_event(other, signature, SIGNING)
        assert caught.value.code == "signature_invalid"
        assert SIGNING not in caught.value.message
