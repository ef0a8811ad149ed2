"""The outermost layer: request ids, and errors of requests that never reached the pipeline.

Out: every response has `x-request-id` and `request-id` (the names that OpenAI's and Anthropic's
SDKs read). What raises beyond here is a defect; the caller gets a 500 that tells nothing.

A request that is refused before its body was read gets its answer at once, and what the client
still sends is thrown away for a while: many clients read no answer before they have sent all, and
a connection closed meanwhile tells them nothing.
"""

import asyncio
from contextlib import suppress

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_request_id
from groxy.dialects._base import Dialect
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.observe.logs import get_logger
from groxy.wire.asgi import (
    BODY_IS_READ,
    AsgiApp,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    header,
)

_MOST_DISCARDED_BYTES = 64 * 1024 * 1024
_LONGEST_DISCARD_S = 5.0


class ErrorBoundary:
    """Wraps the whole public application."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._log = get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope["groxy.request_id"] = request_id
        reply = Reply(send, scope)
        try:
            await self._app(scope, receive, reply)
        except GroxyError as error:
            await reply.fail(error, receive if _may_be_sending(scope) else None)
        except Exception:  # the last stop: nothing below may end a connection without an answer
            self._log.exception("endpoint crashed", request=request_id, path=scope["path"][:256])
            message = "The gateway made a mistake. Quote the request id when you report it."
            await reply.fail(GroxyError(ErrorKind.INTERNAL, message), None)


class Reply:
    """A `send` that adds the request id and knows whether the response has begun."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._scope = scope
        self._has_begun = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            request_id = self._scope["groxy.request_id"].encode()
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", request_id),
                (b"request-id", request_id),
            ]
        await self._send(message)

    async def fail(self, error: GroxyError, unread: Receive | None) -> None:
        """Answer with an error, unless an answer is under way or nobody is left to read it.

        `unread` gives the body that the client may still be sending. Such an answer states no
        length: a server takes one that is complete for the end of the connection.
        """
        if self._has_begun or error.kind is ErrorKind.CANCELLED:
            return
        body = _dialect_of(self._scope).encode_error(error)
        headers: Headers = [(b"content-type", b"application/json")]
        if unread is None:
            headers.append((b"content-length", b"%d" % len(body)))
        if error.kind is ErrorKind.BAD_KEY:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.kind is ErrorKind.WRONG_METHOD:
            headers.append((b"allow", self._scope["groxy.allow"].encode()))
        headers += error.headers
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
        start = {"type": "http.response.start", "status": error.facts.status, "headers": headers}
        await self(start)
        if unread is not None:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await _discard(unread)
            body = b""
        await self._send({"type": "http.response.body", "body": body})


def _dialect_of(scope: Scope) -> Dialect:
    """Return the dialect whose clients read this answer: by path, or by what only they send."""
    is_messages = scope["path"].removeprefix("/api").startswith("/v1/messages")
    return MESSAGES if is_messages or header(scope, b"anthropic-version") else CHAT


def _may_be_sending(scope: Scope) -> bool:
    """A client that expects a `100 Continue` sends no body after any other answer."""
    if scope.get(BODY_IS_READ):
        return False
    length = header(scope, b"content-length")
    has_body = length not in (None, "0") or header(scope, b"transfer-encoding") is not None
    return has_body and header(scope, b"expect") is None


async def _discard(receive: Receive) -> None:
    """Read what is left of a request's body, within bounds, and keep nothing of it."""
    left = _MOST_DISCARDED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_DISCARD_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
