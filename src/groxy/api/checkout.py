"""Stripe Checkout: a page of Stripe's on which somebody pays, made through Stripe's own package.

In: a top-up. Out: the page's address and Stripe's id of it, or UPSTREAM_DOWN. The package blocks,
so it runs in a thread; it waits for bounded times and repeats a request under one idempotency key.
A secret key is neither logged nor part of an error.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from groxy.api.stripe_events import TOPUP, USER
from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.topups import CURRENCY

_TIMEOUTS_S = (5.0, 20.0)
"""For connecting, and between two pieces of an answer."""
_RETRIES = 2
_ALL_S = 60.0
_threads = ThreadPoolExecutor(4, "stripe")
"""Of its own: while Stripe is slow, files and passwords must not wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeRules:
    """What the operator set of payments. Without a secret key there are none."""

    secret_key: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)
    success_url: str = ""
    cancel_url: str = ""
    least_usd: int = 5
    most_usd: int = 1000
    api_base: str = ""
    """Stripe's own when empty."""

    @property
    def is_on(self) -> bool:
        """True when payments are taken."""
        return bool(self.secret_key and self.webhook_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where to pay."""

    id: str
    url: str


async def create_page(rules: StripeRules, *, topup_id: str, user_id: str, cents: int) -> Page:
    """Return a page on which so many US cents are paid for a user's top-up."""
    metadata = {TOPUP: topup_id, USER: user_id}
    params: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": topup_id,
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "success_url": rules.success_url,
        "cancel_url": rules.cancel_url or rules.success_url,
        # What is paid is what was asked for, or the payment would not be believed.
        "adaptive_pricing": {"enabled": False},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": CURRENCY,
                    "unit_amount": cents,
                    "product_data": {"name": "Credits"},
                },
            }
        ],
    }
    try:
        async with asyncio.timeout(_ALL_S):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_threads, _create, rules, params, f"groxy-{topup_id}")
    except TimeoutError:
        raise _unreachable("no answer in time") from None


def _create(rules: StripeRules, params: Any, idempotency_key: str) -> Page:  # noqa: ANN401 - the package has types of its own for it
    import stripe  # noqa: PLC0415 - takes 0.3 s, and few gateways need it

    carrier = stripe.RequestsClient(timeout=_TIMEOUTS_S)
    bases: Any = {"api": rules.api_base} if rules.api_base else {}
    client = stripe.StripeClient(
        rules.secret_key,
        http_client=carrier,
        max_network_retries=_RETRIES,
        base_addresses=bases,
    )
    try:
        session = client.v1.checkout.sessions.create(params, {"idempotency_key": idempotency_key})
    except stripe.StripeError as error:
        # Its message may have a part of the key.
        raise _unreachable(
            f"{type(error).__name__} {error.http_status or ''} {error.code or ''}"
        ) from None
    finally:
        carrier.close()  # type: ignore[no-untyped-call]
    if not session.id or not session.url:
        raise _unreachable("a session without id or address")
    return Page(id=session.id, url=session.url)


def _unreachable(detail: str) -> GroxyError:
    message = "The payment could not be begun: the payment provider did not accept it. Try again."
    return GroxyError(ErrorKind.UPSTREAM_DOWN, message, code="payment_unavailable", detail=detail)
