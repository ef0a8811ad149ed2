import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
import stripe

from groxy.api.checkout import StripeRules
from groxy.api.payments import read_cents
from groxy.core.errors import GroxyError
from groxy.store import tables
from groxy.store.topups import list_topups
from groxy.store.verification import verify
from tests.api.purses import USD, Person, balance_of, person
from tests.api.stripe_server import (
    SECRET_KEY,
    SIGNING,
    FakeStripe,
    event,
    fake_stripe,
    signed,
)
from tests.inprocess import Answer, application, ask

HOOK = "/v1/webhooks/stripe"


@dataclass
class Shop:
    """An application that takes payments, somebody who pays, and Stripe."""

    app: Any
    ada: Person
    stripe: FakeStripe
    numbers: Any = field(default_factory=count)

    async def begin(self, amount: object = 20) -> Answer:
        body = amount if isinstance(amount, bytes) else {"amount": amount}
        return await ask(self.app, "POST", "/v1/credits/checkout", body=body, key=self.ada.key)

    async def session(self, amount: int = 20, **changes: Any) -> dict[str, Any]:
        """Begin a payment; return the session as Stripe tells of it once it is paid."""
        answer = await self.begin(amount)
        assert answer.status == 200, answer.body
        asked = self.stripe.asked[-1]
        session = {
            "id": f"cs_test_{len(self.stripe.asked)}",
            "object": "checkout.session",
            "mode": "payment",
            "payment_status": "paid",
            "amount_total": int(asked["line_items[0][price_data][unit_amount]"]),
            "currency": "usd",
            "client_reference_id": asked["client_reference_id"],
            "payment_intent": f"pi_{len(self.stripe.asked)}",
            "metadata": {
                "groxy_topup": asked["metadata[groxy_topup]"],
                "groxy_user": asked["metadata[groxy_user]"],
            },
        }
        return session | changes

    async def hear(self, kind: str, content: dict[str, Any], name: str = "") -> str:
        """Send a message that Stripe signed; return what became of it."""
        body = event(kind, content, name or f"evt_{next(self.numbers)}")
        answer = await self.send(body, signed(body))
        assert answer.status == 200, answer.body
        outcome: str = answer.json["outcome"]
        return outcome

    async def send(self, body: bytes, signature: str | None) -> Answer:
        headers = {} if signature is None else {"stripe-signature": signature}
        return await ask(self.app, "POST", HOOK, body=body, key=None, headers=headers)

    async def paid(self) -> dict[str, Any]:
        session = await self.session()
        assert await self.hear("checkout.session.completed", session) == "credited"
        return session

    async def balance(self) -> int:
        """Return the balance in cents."""
        ticks = await balance_of(self.app, self.ada.id)
        assert ticks % (USD // 100) == 0
        return ticks // (USD // 100)


@pytest.fixture
async def shop(tmp_path) -> AsyncIterator[Shop]:
    with fake_stripe() as server:
        flags = {
            "billing__stripe_secret_key": SECRET_KEY,
            "billing__stripe_webhook_secret": SIGNING,
            "billing__stripe_success_url": "https://shop.example/paid?id={CHECKOUT_SESSION_ID}",
            "billing__stripe_api_base": server.url,
            "logging__level": "warning",
        }
        async with application(tmp_path, **flags) as app:
            yield Shop(app, await person(app), server)


def refund(amount, name="re_1", **changes):
    given = {"id": name, "object": "refund", "amount": amount, "currency": "usd"}
    return {**given, "payment_intent": "pi_1", "status": "succeeded", **changes}


def dispute(amount=2000, status="needs_response", **changes):
    return refund(amount, "dp_1", object="dispute", status=status, **changes)


# ---------------------------------------------------------------------------------------- checkout


async def test_a_page_to_pay_on_is_made_for_exactly_this_user_and_amount(shop):
    answer = await shop.begin("12.50")

    data = answer.json["data"]
    assert (answer.status, data["url"]) == (200, "https://checkout.example/cs_test_1")
    assert (data["amount"], data["currency"]) == (12.5, "usd")
    (asked,) = shop.stripe.asked
    assert asked["path"] == "/v1/checkout/sessions"
    assert asked["mode"] == "payment"
    assert asked["line_items[0][price_data][unit_amount]"] == "1250"
    assert asked["line_items[0][price_data][currency]"] == "usd"
    assert asked["metadata[groxy_user]"] == shop.ada.id
    assert asked["payment_intent_data[metadata][groxy_topup]"] == data["id"]
    assert asked["client_reference_id"] == data["id"]
    assert asked["success_url"] == asked["cancel_url"]
    assert asked["adaptive_pricing[enabled]"] == "false"
    assert shop.stripe.keys == [(f"Bearer {SECRET_KEY}", f"groxy-{data['id']}")]
    (topup,) = await list_topups(shop.app.database, shop.ada.id)
    assert (topup.reference, topup.amount, topup.status.value) == ("cs_test_1", 1250, "open")
    assert await shop.balance() == 0


async def test_a_fault_of_stripe_is_tried_again_under_the_same_key(shop):
    shop.stripe.failures = [500]

    assert (await shop.begin()).status == 200
    (first, second) = shop.stripe.keys
    assert first == second


@pytest.mark.parametrize("status", [400, 401, 402])
async def test_a_refusal_of_stripe_is_told_without_its_words(shop, status):
    shop.stripe.failures = [status]

    answer = await shop.begin()

    assert (answer.status, answer.error["code"]) == (502, "payment_unavailable")
    assert SECRET_KEY.encode() not in answer.body
    assert await list_topups(shop.app.database) == []


@pytest.mark.parametrize(
    "amount",
    [
        4,
        0,
        -20,
        "4.99",
        1001,
        "20.001",
        20.005,
        True,
        None,
        "20 ",
        "1e2",
        "NaN",
        "",
        [],
        2**63,
        b'{"amount": 1e2}',
        b'{"amount": NaN}',
        b'{"amount": 1e309}',
        b"{}",
        b"[]",
        b'{"amount": 20, "user_id": "usr_2"}',
        b'{"amount": 20, "currency": "jpy"}',
    ],
)
async def test_what_is_no_amount_begins_nothing(shop, amount):
    answer = await shop.begin(amount)

    assert answer.status == 400
    assert shop.stripe.keys == []


def test_cents_are_whole_and_within_bounds():
    rules = StripeRules(least_usd=5, most_usd=10)

    assert [read_cents(text, rules) for text in (b"5", b'"5.01"', b"9.99", b"10", b"7.10")] == [
        500,
        501,
        999,
        1000,
        710,
    ]
    for text in (b"4.99", b"10.01", b"5.001", b"true", b"-5"):
        with pytest.raises(GroxyError) as caught:
            read_cents(text, rules)
        assert caught.value.param == "amount"


async def test_without_payments_there_is_nothing_to_pay_and_nothing_to_hear(tmp_path):
    async with application(tmp_path) as app:
        ada = await person(app)
        body = event("checkout.session.completed", {}, "evt_1")
        for path, key, headers in (
            ("/v1/credits/checkout", ada.key, {}),
            (HOOK, None, {"stripe-signature": signed(body, "")}),
        ):
            answer = await ask(app, "POST", path, body=body, key=key, headers=headers)
            assert (answer.status, answer.error["code"]) == (404, "payments_off")


async def test_checkouts_are_limited(shop):
    statuses = [(await shop.begin()).status for _ in range(11)]

    assert statuses == [200] * 10 + [429]


# -------------------------------------------------------------------------------------- signatures


async def test_what_stripe_did_not_sign_credits_nothing(shop):
    body = event("checkout.session.completed", await shop.session(), "evt_1")
    now = int(time.time())
    good = signed(body)
    for signature in (
        None,
        "",
        "t=,v1=",
        "v1=00",
        f"t={now}",
        f"t={now},v1={'0' * 64}",
        f"t={now},v0={good.partition('v1=')[2]}",
        good.replace(f"t={now}", f"t={now + 1}"),
        signed(body, "whsec_of_somebody_else"),
        signed(body, ""),
        signed(body, at_s=now - 301),
        signed(body + b" "),
        "\xff" * 40,
        "t=" + "9" * 5000 + ",v1=0",
    ):
        answer = await shop.send(body, signature)
        assert (answer.status, answer.error["code"]) == (400, "signature_invalid"), signature
    assert await shop.balance() == 0
    async with shop.app.database.transaction() as connection:
        assert (await connection.execute(sa.select(tables.payment_events))).all() == []
    assert (await shop.send(body, good)).json["outcome"] == "credited"


async def test_our_signatures_are_those_of_the_package():
    body = b'{"a": 1}'

    theirs = stripe.WebhookSignature.generate_signature_header(
        body.decode(), SIGNING, 1_790_000_000
    )

    assert signed(body, at_s=1_790_000_000) == theirs


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"object": "event"}', b"\xff\xfe"])
async def test_what_is_signed_but_no_event_is_refused(shop, body):
    signature = "t=1,v1=0" if body == b"\xff\xfe" else signed(body)

    assert (await shop.send(body, signature)).status == 400


async def test_a_huge_message_is_refused_before_it_is_read(shop):
    body = b" " * (1024 * 1024 + 1)

    assert (await shop.send(body, signed(body))).status == 413


# ------------------------------------------------------------------------------------------- money


async def test_a_payment_is_credited_once_however_often_stripe_tells(shop):
    session = await shop.session(20)
    body = event("checkout.session.completed", session, "evt_same")

    answers = await asyncio.gather(*(shop.send(body, signed(body)) for _ in range(20)))
    other = await shop.hear("checkout.session.async_payment_succeeded", session)

    outcomes = [answer.json["outcome"] for answer in answers]
    assert (outcomes.count("credited"), outcomes.count("seen before")) == (1, 19)
    assert other == "paid before"
    assert await shop.balance() == 2000
    assert (await verify(shop.app.database)).findings == ()
    told = await ask(shop.app, "GET", "/v1/credits", key=shop.ada.key)
    assert told.json["data"]["total_credits"] == 20


async def test_a_payment_that_takes_its_time_is_credited_when_it_is_there(shop):
    session = await shop.session(payment_status="unpaid")

    assert await shop.hear("checkout.session.completed", session) == "not needed"
    assert await shop.balance() == 0
    paid = {**session, "payment_status": "paid"}
    assert await shop.hear("checkout.session.async_payment_succeeded", paid) == "credited"
    assert await shop.balance() == 2000


@pytest.mark.parametrize(
    ("kind", "status"),
    [("expired", "expired"), ("async_payment_failed", "failed")],
)
async def test_a_session_that_ends_without_money_credits_nothing(shop, kind, status):
    session = await shop.session(payment_status="unpaid")

    assert await shop.hear(f"checkout.session.{kind}", session) == status
    assert (await list_topups(shop.app.database))[0].status.value == status
    assert await shop.balance() == 0


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"currency": "eur"}, "other currency"),
        ({"currency": "USD"}, "other currency"),
        ({"currency": None}, "other currency"),
        ({"amount_total": 1999}, "other amount"),
        ({"amount_total": 200_000}, "other amount"),
        ({"amount_total": 0}, "other amount"),
        ({"amount_total": None}, "other amount"),
        ({"id": "cs_test_of_another_shop"}, "unknown session"),
        ({"metadata": {}}, "other user"),
        ({"metadata": None}, "other user"),
        ({"metadata": {"groxy_user": "usr_2", "groxy_topup": "top_2"}}, "other user"),
        ({"client_reference_id": "top_2"}, "other user"),
        ({"payment_status": "no_payment_required"}, "not needed"),
        ({"mode": "subscription"}, "not needed"),
        ({"amount_total": 2000.5}, ""),
        ({"amount_total": "2000"}, ""),
        ({"amount_total": True}, ""),
        ({"amount_total": 2**70}, ""),
        ({"amount_total": -2000}, ""),
        ({"id": None}, ""),
    ],
)
async def test_what_does_not_fit_to_a_topup_credits_nothing(shop, changes, outcome):
    session = await shop.session()

    told = await shop.hear("checkout.session.completed", session | changes)

    assert told == (outcome or "unreadable")
    assert await shop.balance() == 0


async def test_refunds_take_back_what_they_give_and_no_more(shop):
    await shop.paid()

    assert await shop.hear("refund.created", refund(500)) == "taken back"
    assert await shop.hear("refund.updated", refund(500)) == "nothing to take back"
    assert await shop.hear("charge.refund.updated", refund(500)) == "nothing to take back"
    charge = {"id": "ch_1", "amount_refunded": 500, "currency": "usd", "payment_intent": "pi_1"}
    assert await shop.hear("charge.refunded", charge) == "nothing to take back"
    assert await shop.balance() == 1500
    assert await shop.hear("charge.refunded", {**charge, "amount_refunded": 2000}) == "taken back"
    assert await shop.balance() == 0
    assert await shop.hear("refund.created", refund(1500, "re_2")) == "nothing to take back"
    (topup,) = await list_topups(shop.app.database)
    assert topup.refunded == 2000
    assert (await verify(shop.app.database)).findings == ()


async def test_what_was_taken_back_cannot_be_spent(shop):
    chat = {"model": "grok-4.3", "messages": [{"role": "user", "content": "Hello!"}]}

    async def asked():
        answer = await ask(shop.app, "POST", "/v1/chat/completions", body=chat, key=shop.ada.key)
        return answer.status

    assert await asked() == 402
    await shop.paid()
    assert await asked() == 200
    await shop.hear("charge.dispute.created", dispute())
    assert await asked() == 402
    assert await balance_of(shop.app, shop.ada.id) < 0
    assert (await verify(shop.app.database)).findings == ()


async def test_a_payment_that_is_begun_again_with_its_key_is_one(shop):
    headers = {"idempotency-key": "once"}

    async def begun():
        path, body = "/v1/credits/checkout", {"amount": 20}
        return await ask(shop.app, "POST", path, body=body, key=shop.ada.key, headers=headers)

    first, second = await begun(), await begun()

    assert first.body == second.body
    assert len(shop.stripe.keys) == len(await list_topups(shop.app.database)) == 1


async def test_a_refund_that_failed_is_given_back(shop):
    await shop.paid()
    await shop.hear("refund.created", refund(500, status="pending"))

    assert await shop.hear("refund.failed", refund(500, status="failed")) == "given back"
    assert await shop.balance() == 2000


async def test_a_refund_before_the_payment_ends_right(shop):
    session = await shop.session()

    assert await shop.hear("refund.created", refund(2000)) == "waits for its payment"
    assert await shop.hear("checkout.session.completed", session) == "credited"
    assert await shop.balance() == 0
    assert await shop.hear("refund.updated", refund(2000)) == "nothing to take back"
    lines = await ask(shop.app, "GET", "/v1/credits/statement", key=shop.ada.key)
    amounts = [line["amount_usd"] for line in lines.json["data"]]
    assert sorted(amounts) == ["-20", "20"]


async def test_a_dispute_takes_back_until_it_is_won(shop):
    await shop.paid()
    inquiry = dispute(status="warning_needs_response")

    assert await shop.hear("charge.dispute.created", inquiry) == "not needed"
    assert await shop.balance() == 2000
    assert await shop.hear("charge.dispute.created", dispute()) == "taken back"
    assert await shop.hear("charge.dispute.funds_withdrawn", dispute()) == "nothing to take back"
    assert await shop.balance() == 0
    won = dispute(status="won")
    assert await shop.hear("charge.dispute.closed", won) == "given back"
    assert await shop.hear("charge.dispute.funds_reinstated", won) == "nothing to take back"
    assert await shop.balance() == 2000


async def test_a_dispute_that_is_lost_stays_taken(shop):
    await shop.paid()
    await shop.hear("charge.dispute.created", dispute())

    lost = dispute(status="lost")
    assert await shop.hear("charge.dispute.closed", lost) == "nothing to take back"
    assert await shop.balance() == 0


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("refund.created", refund(500, currency="eur")),
        ("refund.created", refund(500, payment_intent="pi_of_another_shop")),
        ("refund.created", refund(500, payment_intent=None)),
        ("refund.created", refund("500")),
        ("refund.created", refund(-500)),
        ("refund.created", refund(5.5)),
        ("charge.refunded", {"id": "ch_1", "amount_refunded": 500, "currency": "usd"}),
        ("customer.created", {"id": "cus_1"}),
        ("payment_intent.succeeded", {"id": "pi_1"}),
    ],
)
async def test_what_has_nothing_to_do_with_a_topup_takes_nothing_back(shop, kind, content):
    await shop.paid()

    await shop.hear(kind, content)

    assert await shop.balance() == 2000


async def test_what_does_not_fit_is_logged_without_secrets(tmp_path, logged):
    with fake_stripe() as server:
        flags = {
            "billing__stripe_secret_key": SECRET_KEY,
            "billing__stripe_webhook_secret": SIGNING,
            "billing__stripe_success_url": "https://shop.example/paid",
            "billing__stripe_api_base": server.url,
        }
        async with application(tmp_path, **flags) as app:
            shop = Shop(app, await person(app), server)
            await shop.hear("checkout.session.completed", await shop.session(currency="eur"))
            server.failures = [401]
            await shop.begin()

    lines = logged()
    (line,) = [one for one in lines if one["event"] == "payment told"]
    assert (line["level"], line["outcome"]) == ("warning", "other currency")
    assert SECRET_KEY not in json.dumps(lines)
    assert SIGNING not in json.dumps(lines)
