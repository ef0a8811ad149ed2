"""The parts of a running gateway that endpoints are made of; `app` builds them."""

from dataclasses import dataclass

from groxy.app.media import Media
from groxy.gateway import Gateway
from groxy.gateway.deferred import DeferredReplies
from groxy.observe.metrics import Metrics
from groxy.policy.keys import Keyring
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog
from groxy.routing.router import Router
from groxy.store.database import Database
from groxy.wire.asgi import AsgiApp
from groxy.wire.tokens import SplintrCounter


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
    max_body_bytes: int
