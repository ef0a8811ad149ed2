"""The admin API as one application: every router, one check of the key, one form of errors.

In: the desk. Out: an ASGI application for the full paths below /admin/api. FastAPI takes a tenth
of a second and some memory to import: whoever serves this imports it at the first request.
"""

from typing import Any

from fastapi import APIRouter, FastAPI

import groxy
from groxy.admin import (
    assets,
    audit,
    batches,
    cache,
    config,
    credits,  # noqa: A004 - nobody needs the builtin
    errors,
    keys,
    ledger,
    plans,
    pools,
    prices,
    requests,
    routes,
    system,
    tokens,
    transfer,
    usage,
    users,
)
from groxy.admin.access import Access
from groxy.admin.audit import Auditor
from groxy.admin.bodies import Bodies
from groxy.admin.desk import Desk
from groxy.admin.jobs import Jobs, Spawn
from groxy.admin.openapi import described
from groxy.admin.stored import OperatorShelf
from groxy.wire.asgi import AsgiApp, Message, Receive, Scope, Send

PREFIX = "/admin/api"
_OF_MESSAGES = b"anthropic-version"
_NO_STORE = (b"cache-control", b"no-store")


def admin_app(desk: Desk, *, spawn: Spawn, started_at: float | None = None) -> AsgiApp:
    """Return the admin API behind the check of the operator's key.

    `spawn` starts a task that outlives its request. `started_at` is when this process began to
    serve, in unix seconds; now if it is not given.
    """
    began = desk.directory.now() if started_at is None else started_at
    return _HttpOnly(Access(desk, Bodies(_Unstored(build(desk, spawn=spawn, started_at=began)))))


def build(desk: Desk, *, spawn: Spawn, started_at: float = 0.0) -> FastAPI:
    """Return the FastAPI application, without the check of the key."""
    app = FastAPI(
        title="Groxy admin API",
        version=groxy.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    for router in _routers(desk, spawn, started_at):
        app.include_router(router, prefix=PREFIX)
    return app


def schema_of(desk: Desk) -> dict[str, Any]:
    """Return the OpenAPI document of the admin API."""
    return described(build(desk, spawn=_never))


def _routers(desk: Desk, spawn: Spawn, started_at: float) -> list[APIRouter]:
    auditor, jobs = Auditor(desk.database), Jobs(desk.state, spawn)
    return [
        system.router(desk, started_at=started_at),
        # Fixed paths below /tokens come before /tokens/{id}, which would take them.
        pools.router(desk, auditor),
        transfer.router(desk, auditor, jobs),
        tokens.router(desk, auditor),
        batches.router(desk, auditor, jobs),
        assets.router(desk, auditor),
        config.router(desk, auditor),
        requests.router(desk),
        usage.router(desk),
        routes.router(desk),
        audit.router(desk),
        cache.router(auditor, OperatorShelf(desk.shelf)),
        users.router(desk, auditor),
        keys.router(desk, auditor),
        plans.router(desk, auditor),
        prices.router(desk, auditor),
        ledger.router(desk),
        credits.router(desk),
    ]


def _never(work: Any) -> None:  # noqa: ANN401 - nothing is ever spawned to describe an API
    work.close()
    raise RuntimeError("an application that only describes itself serves nothing")


class _HttpOnly:
    """Closes what is no HTTP request: there is nothing for it here.

    What only clients of Anthropic's API send would have errors told in their form.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            scope["headers"] = [one for one in scope["headers"] if one[0] != _OF_MESSAGES]
            await self._app(scope, receive, send)


class _Unstored:
    """Tells everyone on the way to store nothing of an answer."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def unstored(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    one for one in message.get("headers", ()) if one[0].lower() != _NO_STORE[0]
                ]
                message["headers"] = [*headers, _NO_STORE]
            await send(message)

        await self._app(scope, receive, unstored)
