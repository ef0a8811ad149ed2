"""Payments: POST /v1/credits/checkout begins one, POST /v1/webhooks/stripe hears how it ended.

In: an amount from a user; messages that Stripe signed. Out: the address of a page to pay on; lines
in the books. Nothing is credited because a browser came back: only a signed message does that. What
does not fit to a stored top-up is noted, logged and answered with 200, so that Stripe does not send
it again; only what Stripe did not sign is refused.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec

from groxy.api.checkout import StripeRules, create_page
from groxy.api.credits import Purse, number
from groxy.api.stripe_events import UnreadableError, read_event, verify_event
from groxy.core.amounts import read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD
from groxy.observe import logs
from groxy.policy.credits import require_turn
from groxy.store.topups import (
    TICKS_PER_CENT,
    UNREADABLE,
    Outcome,
    open_topup,
    record_event,
)
from groxy.wire.asgi import Receive, Scope, Send, header, read_body, respond
from groxy.wire.json import decode_request, decoder, encode

CHECKOUTS_A_MINUTE = 10
_MAX_BODY_BYTES = 16 * 1024
_MAX_EVENT_BYTES = 1024 * 1024


class _Amount(msgspec.Struct, forbid_unknown_fields=True):
    amount: msgspec.Raw


_amounts = decoder(_Amount)


class Payments:
    """The endpoints, each a method. `rules` returns what is set now."""

    def __init__(self, purse: Purse, rules: Callable[[], StripeRules]) -> None:
        self._purse = purse
        self._rules = rules
        self._log = logs.get_logger("payments")

    async def checkout(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a payment: `{"amount": 20}` in US dollars; answers with the page to pay on."""
        purse, rules = self._purse, self._require_payments()
        payer = await purse.payer(scope)
        given = decode_request(await read_body(scope, receive, limit=_MAX_BODY_BYTES), _amounts)
        cents = read_cents(bytes(given.amount), rules)
        await require_turn(purse.registry.ask, f"checkout:{payer.user_id}", CHECKOUTS_A_MINUTE)
        topup_id = f"top_{time.time_ns() // 1_000_000:011x}{secrets.token_hex(8)}"
        page = await create_page(rules, topup_id=topup_id, user_id=payer.user_id, cents=cents)
        # Before anybody knows the page's address, so that nothing is paid that is not stored.
        topup = await open_topup(
            purse.database,
            topup_id=topup_id,
            user_id=payer.user_id,
            reference=page.id,
            amount=cents,
        )
        data = {"id": topup.id, "url": page.url, "amount": number(topup.ticks), "currency": "usd"}
        await respond(send, 200, encode({"data": data}))

    async def webhook(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take note of one message of Stripe's."""
        rules = self._require_payments()
        body = await read_body(scope, receive, limit=_MAX_EVENT_BYTES)
        signature = header(scope, b"stripe-signature")
        # In a thread: the package takes its time to import, once.
        await asyncio.to_thread(verify_event, body, signature, rules.webhook_secret)
        outcome = await self._recorded(body)
        await respond(send, 200, encode({"received": True, "outcome": outcome.text}))

    async def _recorded(self, body: bytes) -> Outcome:
        database = self._purse.database
        try:
            event, fact = read_event(body)
        except UnreadableError as error:
            event = error.event
            outcome = await record_event(database, event, None, otherwise=UNREADABLE)
        else:
            outcome = await record_event(database, event, fact)
        if outcome.balances:
            await self._purse.learn(outcome.balances)
        log = self._log.warning if outcome.is_doubtful else self._log.info
        log("payment told", payment_event=event.id, kind=event.kind, outcome=outcome.text)
        return outcome

    def _require_payments(self) -> StripeRules:
        rules = self._rules()
        if not rules.is_on:
            message = "Payments are off here. Redeem a code, or ask the operator for credits."
            raise GroxyError(ErrorKind.NOT_FOUND, message, code="payments_off")
        return rules


def read_cents(text: bytes, rules: StripeRules) -> int:
    """Return an amount of US dollars in cents; raise BAD_REQUEST (`amount`)."""
    ticks = read_usd(text, "amount", most_usd=rules.most_usd)
    if ticks < rules.least_usd * TICKS_PER_USD:
        least = usd_text(rules.least_usd * TICKS_PER_USD)
        message = f"`amount` is too little: {least} US dollars are the least."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="amount")
    cents, rest = divmod(ticks, TICKS_PER_CENT)
    if rest:
        message = "`amount` must be whole cents, such as 12.50."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="amount")
    return cents
