"""Replies that are for one reader only.

In: JSON. Out: a whole response that nobody on the way may store.
"""

from collections.abc import Iterable

from groxy.wire.asgi import Send


async def respond_unstored(
    send: Send, body: bytes, more: Iterable[tuple[bytes, bytes]] = (), *, status: int = 200
) -> None:
    """Send a whole response; `more` are further headers."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
