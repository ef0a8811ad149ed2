"""Which POST endpoints heed an `Idempotency-Key`, and how; built once, with the routes.

In: the public endpoints by path and method. Out: the same, with those wrapped that a repeat would
run a second time. Each path with a POST is in one of the groups below.
"""

from collections.abc import Awaitable, Callable, Mapping

from groxy.api.idempotency import IdempotentEndpoint, caller_of
from groxy.api.owners import Registry
from groxy.api.text import identify
from groxy.app.parts import Parts
from groxy.policy.sessions import presented_session
from groxy.wire.asgi import AsgiApp, Scope

IN_BOOKS = frozenset(
    {
        "/chat/completions",
        "/responses",
        "/responses/compact",
        "/messages",
        "/completions",
        "/embeddings",
        "/vision/analyze",
        "/images/generations",
        "/images/generate",
        "/images/edits",
        "/videos",
        "/videos/generations",
    }
)
"""Their replies are stored with their entries."""
AT_MOST_ONCE = frozenset({"/files"})
"""In no books, but of consequence: announced before they begin."""
OF_USERS = frozenset({"/keys", "/keys/{hash}/rotate", "/credits/redeem", "/credits/checkout"})
"""The same, also for somebody who is logged in."""
AS_THEY_ARE = frozenset(
    {
        "/tokenize",
        "/tokenize-text",
        "/messages/count_tokens",
        "/responses/input_tokens",
        "/responses/{id}/cancel",
        "/auth/login",
        "/auth/logout",
        "/quote",
        "/webhooks/stripe",
    }
)
"""To repeat them does no harm: the header is ignored."""
_FORM_BYTES = 65 * 1024 * 1024
"""For all parts of a form with pictures; the endpoint itself says what is too much of which."""
_FIELDS_BYTES = 128 * 1024
"""For what a form has beside its one file."""

_Endpoints = Mapping[str, Mapping[str, AsgiApp]]


def with_idempotency(endpoints: _Endpoints, parts: Parts, registry: Registry) -> _Endpoints:
    """Return endpoints of which one request with an idempotency key runs, however often sent."""
    of_caller, of_user = caller_of(parts.callers), _user_of(registry)
    wrapped: dict[str, Mapping[str, AsgiApp]] = dict(endpoints)
    for path, methods in endpoints.items():
        if "POST" not in methods or path not in IN_BOOKS | AT_MOST_ONCE | OF_USERS:
            continue
        endpoint = IdempotentEndpoint(
            endpoint=methods["POST"],
            replays=parts.replays,
            owner_of=of_user if path in OF_USERS else of_caller,
            most_bytes=_bound_of(path, parts),
            stall_s=lambda: parts.gateway.limits.deadlines.idle_s / 2,
            is_in_books=path in IN_BOOKS,
        )
        wrapped[path] = {**methods, "POST": endpoint}
    return wrapped


def _bound_of(path: str, parts: Parts) -> Callable[[], int]:
    """Return what tells how large a body may be; the endpoint may take less."""
    most = parts.max_body_bytes
    if path == "/files":
        shelf = parts.media.shelf
        return lambda: shelf.limits.max_bytes["file"] + _FIELDS_BYTES
    return lambda: max(most, _FORM_BYTES)


def _user_of(registry: Registry) -> Callable[[Scope], Awaitable[str]]:
    """Return what tells who asks: somebody who is logged in, or a key.

    What is in the answer to one key is not for other keys of its user.
    """

    async def owner_of(scope: Scope) -> str:
        if presented_session(scope, registry.app_url()) is not None:
            return (await registry.session(scope)).user.id
        return identify(registry.keyring, scope).key_id

    return owner_of
