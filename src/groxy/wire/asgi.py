"""ASGI, as far as the endpoints need it: headers, a bounded body, and the client's side.

Must not know a route or a dialect; request ids are added in `api.errors`.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from groxy.core.errors import ErrorKind, GroxyError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
BODY_IS_READ = "groxy.body_is_read"
"""In a scope: nothing of the request's body is left to read."""
ASK_AGAIN = "groxy.ask_again"
"""In a scope: what finds out anew who asks, and raises when they may not any more. It is handed the
scope, which it must not hold: a circle would leave the whole request to the garbage collector."""
SLOW_BODY_S = 0.2
_MAX_PARAMETERS = 50


def header(scope: Scope, name: bytes) -> str | None:
    """Return a request header; `name` is lower case. Of repeated ones the first counts."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def query_of(scope: Scope) -> dict[str, str]:
    """Return the parameters of the address; of repeated ones the first. BAD_REQUEST for too many.

    A parameter without a value is as if it were not there.
    """
    raw = scope.get("query_string", b"").decode("latin-1")
    try:
        found = parse_qs(raw, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        message = f"The address has too many parameters; {_MAX_PARAMETERS} are the most."
        raise GroxyError(ErrorKind.BAD_REQUEST, message) from None
    return {name: values[0] for name, values in found.items()}


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Return the request's body; raise TOO_LARGE beyond `limit` bytes, before reading more.

    Who took long to send it is asked again who they are.
    """
    began = time.monotonic()
    if (header(scope, b"content-encoding") or "identity").lower() != "identity":
        said = "Compressed request bodies are not supported. Send the body without encoding."
        raise GroxyError(ErrorKind.BAD_REQUEST, said, param="content-encoding")
    declared = header(scope, b"content-length")
    # Nineteen digits are more than any limit; int() refuses thousands of them.
    if declared is not None and declared.isdecimal() and int(declared[:19]) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GroxyError(ErrorKind.CANCELLED, "The client closed the connection.")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            scope[BODY_IS_READ] = True
            await ask_again(scope, began)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def ask_again(scope: Scope, began: float) -> None:
    """Raise if who asks may not any more, where the body was slow; `began` is of `monotonic`.

    Who asks is known before the body is read, so that strangers cannot make us read much. But a
    body may take as long as its sender likes: a key that was revoked meanwhile is one no more.
    """
    if time.monotonic() - began >= SLOW_BODY_S and (again := scope.get(ASK_AGAIN)) is not None:
        await again(scope)


def _too_large(limit: int) -> GroxyError:
    return GroxyError(
        ErrorKind.TOO_LARGE,
        f"The request body is larger than {limit} bytes, the most this gateway takes "
        "(setting server.max_body_bytes). Send less at once.",
    )


class AsgiClient:
    """The client's side of one request; see `gateway.Client`."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, body: bytes, *, is_last: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def gone(self) -> None:
        """Return once the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def respond(
    send: Send, status: int, body: bytes, *, content_type: bytes = b"application/json"
) -> None:
    """Send a whole response."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
