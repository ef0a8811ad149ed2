"""The outermost layer: request ids, and errors of requests that never reached the pipeline.

Out: every response has `x-request-id` and `request-id` (the names that OpenAI's and Anthropic's
SDKs read). What raises beyond here is a defect; the caller gets a 500 that tells nothing.
"""

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_request_id
from groxy.dialects.chat import DIALECT
from groxy.observe.logs import get_logger
from groxy.wire.asgi import AsgiApp, Headers, Message, Receive, Scope, Send


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
        reply = _Reply(send, request_id)
        try:
            await self._app(scope, receive, reply)
        except GroxyError as error:
            await reply.fail(error)
        except Exception:  # the last stop: nothing below may end a connection without an answer
            self._log.exception("endpoint crashed", request=request_id, path=scope["path"][:256])
            message = "The gateway made a mistake. Quote the request id when you report it."
            await reply.fail(GroxyError(ErrorKind.INTERNAL, message))


class _Reply:
    """A `send` that adds the request id and knows whether the response has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id.encode()
        self._has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self._id),
                (b"request-id", self._id),
            ]
        await self._send(message)

    async def fail(self, error: GroxyError) -> None:
        """Answer with an error, unless an answer is under way or nobody is left to read it."""
        if self._has_begun or error.kind is ErrorKind.CANCELLED:
            return
        body = DIALECT.encode_error(error)
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if error.kind is ErrorKind.BAD_KEY:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(round(error.retry_after_s + 0.499), 1)))
        start = {"type": "http.response.start", "status": error.facts.status, "headers": headers}
        await self(start)
        await self._send({"type": "http.response.body", "body": body})
