"""Bodies of the admin API: bounded, and strict JSON, before anything decodes them.

In: a request. Out: the same with its whole body read, or TOO_LARGE or BAD_JSON. What a client
calls its body does not matter, so that plain `curl -d` works; only the import takes lines of text.
"""

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import AsgiApp, Message, Receive, Scope, Send, read_body
from groxy.wire.json import decode_request, decoder

MAX_BYTES = 1024 * 1024
MAX_IMPORT_BYTES = 64 * 1024 * 1024
IMPORT_PATH = "/admin/api/import"
_BODYLESS = frozenset({"GET", "HEAD"})
_any = decoder(object)


class Bodies:
    """Reads each request's body, and lets the application have it as if it came now."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] in _BODYLESS:
            await self._app(scope, receive, send)
            return
        is_import = scope["path"] == IMPORT_PATH
        limit = MAX_IMPORT_BYTES if is_import else MAX_BYTES
        body = await _read(scope, receive, limit)
        if body and not is_import:
            decode_request(body, _any)
            _call_it_json(scope)
        await self._app(scope, _replay(body, receive), send)


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes:
    try:
        return await read_body(scope, receive, limit=limit)
    except GroxyError as error:
        if error.kind is not ErrorKind.TOO_LARGE:
            raise
        message = f"The request body is larger than {limit} bytes. Send less at once."
        raise GroxyError(ErrorKind.TOO_LARGE, message) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and then what else comes."""
    pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pieces.pop() if pieces else await receive()

    return again


def _call_it_json(scope: Scope) -> None:
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    scope["headers"] = [*others, (b"content-type", b"application/json")]
