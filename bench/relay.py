"""The yardstick: a bare relay on the parts that Groxy is built from, and nothing else.

ASGI on uvicorn, aiohttp behind it, one process: no key, no routing, no books, no log. How many
requests it relays says how fast a machine is, so that figures of different machines can be held
against each other. Whole replies only.

    python bench/relay.py PORT UPSTREAM_URL
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn
import uvloop
from yarl import URL

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ASKED_HEADERS = {"Content-Type": "application/json"}


class Relay:
    """Passes each body on, and each reply back."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = URL(upstream + "/chat/completions")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; any path but chat's says that it is ready."""
        status, body = 200, b"{}"
        if scope["path"] == "/v1/chat/completions":
            asked = await _read_body(receive)
            async with self._session.post(
                self._upstream, data=asked, headers=_ASKED_HEADERS
            ) as reply:
                status, body = reply.status, await reply.read()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    pieces = [body]
    while message.get("more_body", False):
        message = await receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


async def main(port: int, upstream: str) -> None:
    """Serve until the process is stopped."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4096)) as session:
        config = uvicorn.Config(
            Relay(session, upstream),
            host="127.0.0.1",
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            access_log=False,
            log_config=None,
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
