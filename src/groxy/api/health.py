"""How the gateway does: /health, /ready, /meta, /metrics. None of them asks for a key."""

from collections.abc import Awaitable, Callable, Mapping

from groxy import __version__
from groxy.core.errors import GroxyError
from groxy.observe.metrics import CONTENT_TYPE, Metrics
from groxy.wire.asgi import Receive, Scope, Send, respond
from groxy.wire.json import encode

Check = Callable[[], Awaitable[None]]


async def health(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that the process lives."""
    del scope, receive
    await respond(send, 200, b'{"status":"ok"}')


async def meta(scope: Scope, receive: Receive, send: Send) -> None:
    """Say which version this is."""
    del scope, receive
    await respond(send, 200, encode({"name": "groxy", "version": __version__}))


class Ready:
    """GET /ready: 200 while requests can be served, else 503, with each check's result."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope, receive
        results: dict[str, str] = {}
        for name, check in self._checks.items():
            try:
                await check()
                results[name] = "ok"
            except GroxyError as error:
                results[name] = error.message
        is_ready = all(result == "ok" for result in results.values())
        body = encode({"status": "ready" if is_ready else "not ready", "checks": results})
        await respond(send, 200 if is_ready else 503, body)


class MetricsPage:
    """GET /metrics, for Prometheus; `refresh` brings gauges up to date first."""

    def __init__(self, metrics: Metrics, refresh: Callable[[], None]) -> None:
        self._metrics = metrics
        self._refresh = refresh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope, receive
        self._refresh()
        await respond(send, 200, self._metrics.render(), content_type=CONTENT_TYPE.encode())
