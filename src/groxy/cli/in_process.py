"""The admin API without a network: requests of a command, to an application in its own process.

In: an application, and requests to `HERE`. Out: replies like those from the network. No key is
asked for: whoever can build the application can read its data folder.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.http import Outgoing, Reply

HERE = "http://in-process"


class InProcess:
    """Carries requests to an application in this process; see `wire.http.Transport`."""

    def __init__(self, app: Callable[..., Awaitable[None]], tasks: asyncio.TaskGroup) -> None:
        self._app = app
        self._tasks = tasks

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send a request and return once the reply's head is there."""
        reply = _ReplyHere(outgoing.body)
        reply.task = self._tasks.create_task(reply.answer(self._app, _scope_of(outgoing)))
        await reply.has_head.wait()
        return reply

    async def close(self) -> None:
        """Close nothing: who opened the application closes it."""


def _scope_of(outgoing: Outgoing) -> dict[str, Any]:
    # Here, because what it brings with it takes its time to import.
    from groxy.admin.access import vouch

    path, _, query = outgoing.url.removeprefix(HERE).partition("?")
    headers = {**outgoing.headers, "content-length": str(len(outgoing.body))}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": outgoing.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": None,
    }
    vouch(scope)
    return scope


class _ReplyHere:
    """See `wire.http.Reply`."""

    def __init__(self, body: bytes) -> None:
        self._sent = body
        self._is_sent = False
        self._is_whole = False
        # Bounded: who reads slowly has an export wait, not pile up.
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(16)
        self.has_head = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.status = 500
        self.headers: dict[str, str] = {}

    async def answer(self, app: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
        """Have the application answer, whatever becomes of it."""
        try:
            await app(scope, self._receive, self._send)
        finally:
            self.has_head.set()
        await self._pieces.put(None)

    async def _receive(self) -> dict[str, Any]:
        if self._is_sent:
            await asyncio.Event().wait()  # this client stays to the end
        self._is_sent = True
        return {"type": "http.request", "body": self._sent, "more_body": False}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode().lower(): value.decode("latin-1")
                for name, value in message.get("headers", ())
            }
            self.has_head.set()
            return
        if message.get("body"):
            await self._pieces.put(message["body"])
        self._is_whole = not message.get("more_body", False)

    async def read(self, limit: int) -> bytes:
        """Return the whole body."""
        body = b"".join([chunk async for chunk in self.chunks()])
        assert len(body) <= limit  # noqa: S101 - it is in memory as it is
        return body

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives; raise STREAM_BROKEN when its end is missing."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if not self._is_whole:
            raise GroxyError(ErrorKind.STREAM_BROKEN, "The answer broke off. See the log.")

    def release(self) -> None:
        """There is no connection to keep."""

    def close(self) -> None:
        """Stop the answer if it was not read to its end."""
        if self.task is not None:
            self.task.cancel()
