"""One of several worker processes: the application as an ASGI server's factory builds it.

Also the way to run Groxy under another ASGI server:
`uvicorn --factory groxy.cli.worker:create_app`.
Settings come from the settings file and `GROXY_*` variables.
"""

import os

from groxy.app import running
from groxy.cli.context import loaded_settings
from groxy.cli.serve import calm_garbage_collection
from groxy.core.errors import GroxyError
from groxy.observe import logs
from groxy.observe.metrics import MULTIPROCESS_VARIABLE
from groxy.settings import Loaded
from groxy.wire.asgi import AsgiApp, Receive, Scope, Send


def create_app() -> AsgiApp:
    """Return the application; it starts and stops with the server's lifespan."""
    loaded = loaded_settings(None, None)
    logs.configure(level=loaded.settings.logging.level, form=loaded.settings.logging.format)
    return _Worker(loaded)


class _Worker:
    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._application: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._application is not None:
            await self._application(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        is_multiprocess = MULTIPROCESS_VARIABLE in os.environ
        try:
            async with running(self._loaded, is_multiprocess=is_multiprocess) as application:
                self._application = application
                calm_garbage_collection()
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except GroxyError as error:
            logs.get_logger("worker").error("cannot start", reason=error.message)
            # Servers take a crash for an application without lifespan, and serve without it.
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.shutdown.complete"})
