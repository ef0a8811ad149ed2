"""The admin API, as a part of the application: built when it is first asked for.

Its framework takes 7 MB and a sixth of a second to import, which a gateway that nobody administers
need not pay.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from groxy.admin.desk import Desk
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class AdminApi:
    """Serves /admin/api, /docs and /openapi.json."""

    def __init__(self, desk: Desk, spawn: Spawn) -> None:
        self._desk = desk
        self._spawn = spawn
        self._started_at = desk.directory.now()
        self._app: AsgiApp | None = None
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._app is None:
            async with self._lock:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._built)
        await self._app(scope, receive, send)

    def _built(self) -> AsgiApp:
        from groxy.admin.application import PREFIX, admin_app  # noqa: PLC0415
        from groxy.admin.pages import docs_app  # noqa: PLC0415

        api = admin_app(self._desk, spawn=self._spawn, started_at=self._started_at)
        pages = docs_app(self._desk)

        async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope["path"]
            is_api = path == PREFIX or path.startswith(f"{PREFIX}/")
            await (api if is_api else pages)(scope, receive, send)

        return by_path
