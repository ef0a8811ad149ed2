"""The public paths. `/api/v1/*` answers like `/v1/*`, for clients made for OpenRouter."""

from collections.abc import Awaitable, Mapping

from starlette.routing import Route, Router

from groxy.api.health import health, meta
from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send


class ByMethod:
    """An endpoint that serves some methods and says so when asked with another.

    HEAD is served as GET; the server leaves the body out. It hands out the endpoint's own
    coroutine: one around it would be entered at each step of each request.
    """

    def __init__(self, endpoints: Mapping[str, AsgiApp]) -> None:
        has_get = "GET" in endpoints
        self._endpoints = {**endpoints, "HEAD": endpoints["GET"]} if has_get else endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            allowed = ", ".join(sorted(self._endpoints))
            scope["groxy.allow"] = allowed
            message = f"{scope['method'][:16]} is not allowed here. Use {allowed}."
            raise GroxyError(ErrorKind.WRONG_METHOD, message)
        return endpoint(scope, receive, send)


def public_router(
    v1: Mapping[str, Mapping[str, AsgiApp]],
    *,
    ready: AsgiApp,
    metrics: AsgiApp,
    others: list[Route],
) -> AsgiApp:
    """Return the application below the error boundary; `v1` are the paths below /v1."""
    v1 = {**v1, "/health": {"GET": health}}
    plain: dict[str, dict[str, AsgiApp]] = {
        "/": {"GET": meta},
        "/health": {"GET": health},
        "/ready": {"GET": ready},
        "/meta": {"GET": meta},
        "/metrics": {"GET": metrics},
    }
    endpoints = {
        **{"/v1" + path: ByMethod(methods) for path, methods in v1.items()},
        **{path: ByMethod(methods) for path, methods in plain.items()},
        **{"/api/v1" + path: ByMethod(methods) for path, methods in v1.items()},
    }
    routes = [*(Route(path, endpoint) for path, endpoint in endpoints.items()), *others]
    plain_paths = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}
    return _Paths(plain_paths, Router(routes, redirect_slashes=False, default=_no_such_path))


class _Paths:
    """Finds plain paths by looking them up, and asks the router for all others."""

    def __init__(self, endpoints: Mapping[str, AsgiApp], router: AsgiApp) -> None:
        self._endpoints = endpoints
        self._router = router

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._endpoints.get(scope["path"], self._router)(scope, receive, send)


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    path = scope["path"][:128]
    if path.startswith("/v1/v1/"):
        meant = path.removeprefix("/v1")
        hint = f" Did you mean {meant}? Anthropic's SDK wants a base URL without /v1."
    else:
        hint = " Did you mean /v1" + path + "?" if path in _WITHOUT_V1 else ""
    raise GroxyError(ErrorKind.NOT_FOUND, f"There is nothing at {path}.{hint}")


_WITHOUT_V1 = frozenset(
    {
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/messages",
        "/models",
        "/responses",
        "/tokenize",
        "/vision/analyze",
    }
)
