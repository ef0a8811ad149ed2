"""Payments and credits, built from settings: the endpoints for users, and what they are bound to.

In: settings and the parts of a gateway. Out: endpoints by path below /v1. What the settings say of
payments is read at each request, so that a change is in force at once.
"""

from collections.abc import Mapping

from groxy.api.checkout import StripeRules
from groxy.api.credits import Credits, Purse
from groxy.api.owners import Registry
from groxy.api.payments import Payments
from groxy.app.parts import Parts
from groxy.settings import Secret, Settings
from groxy.wire.asgi import AsgiApp


def stripe_rules_of(settings: Settings) -> StripeRules:
    """Return what settings say of payments."""
    billing = settings.billing
    return StripeRules(
        secret_key=_text(billing.stripe_secret_key),
        webhook_secret=_text(billing.stripe_webhook_secret),
        success_url=billing.stripe_success_url,
        cancel_url=billing.stripe_cancel_url,
        least_usd=billing.least_topup_usd,
        most_usd=billing.most_topup_usd,
        api_base=billing.stripe_api_base,
    )


def credit_routes(parts: Parts, registry: Registry) -> Mapping[str, Mapping[str, AsgiApp]]:
    """Return the endpoints of credits and payments, by path and method."""
    purse = Purse(registry=registry, learn=parts.gateway.admission.learn)
    own, payments = Credits(purse), Payments(purse, parts.stripe)
    return {
        "/credits": {"GET": own.show},
        "/credits/redeem": {"POST": own.redeem},
        "/credits/checkout": {"POST": payments.checkout},
        "/credits/statement": {"GET": own.statement},
        "/key": {"GET": own.key},
        "/webhooks/stripe": {"POST": payments.webhook},
    }


def _text(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
