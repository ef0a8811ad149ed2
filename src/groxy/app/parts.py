"""The parts of a running gateway that endpoints are made of; `app` builds them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from groxy.api.checkout import StripeRules
from groxy.api.owners import nothing_to_load
from groxy.app.media import Media
from groxy.gateway import Gateway
from groxy.gateway.deferred import DeferredReplies
from groxy.gateway.replays import Replays
from groxy.observe.metrics import Metrics
from groxy.policy.keys import Keyring
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.router import Router
from groxy.store.database import Database
from groxy.wire.asgi import AsgiApp
from groxy.wire.tokens import SplintrCounter


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """See the module."""

    gateway: Gateway
    media: Media
    deferred: DeferredReplies
    router: Router
    catalog: Catalog
    directory: Directory
    database: Database
    metrics: Metrics
    counter: SplintrCounter
    callers: Keyring
    admin: AsgiApp
    """Everything of the operator's."""
    replays: Replays
    """What requests with an idempotency key were answered."""
    max_body_bytes: int
    has_public_statistics: Callable[[], bool] = _never
    """Whether figures of models are told to everybody, at the moment."""
    stripe: Callable[[], StripeRules] = StripeRules
    """What is set of payments, at the moment."""
    reload: Callable[[], Awaitable[None]] = nothing_to_load
    """Puts in force here, at once, what was just written to the store."""
