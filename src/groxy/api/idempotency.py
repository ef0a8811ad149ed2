"""`Idempotency-Key` on POST: who sends a request again gets the reply to the first one.

In: a request with that header, 1 to 255 printable ASCII characters. Out: the reply of the request
that ran, from its first byte, marked `idempotent-replayed: true` for all but the one that ran. The
endpoint runs apart from its connection, so that a client which leaves does not end it. Without the
header an endpoint is called as it is. Must not know what an endpoint does.

Two requests are the same when their paths and bodies are. Of a multipart form the boundary does not
count: SDKs choose a new one for each try.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from groxy.api.errors import Reply
from groxy.api.text import RECORDING, identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.recording import Follower, Recording
from groxy.gateway.replays import Replays, name_of
from groxy.observe.logs import Logger, get_logger
from groxy.policy.keys import Keyring
from groxy.wire.asgi import AsgiApp, Headers, Message, Receive, Scope, Send, header, read_body

_HEADER = b"idempotency-key"
_MAX_CHARS = 255
_PIECE_BYTES = 1024 * 1024
"""Of a stored body: a server copies what it is given at once."""
_REPLAYED = (b"idempotent-replayed", b"true")
_ORIGINAL = b"x-groxy-original-request-id"
_OWN = frozenset({b"x-request-id", b"request-id"})
"""Each reply has its own of these."""
_STORED = frozenset(
    {
        b"content-type",
        b"content-length",
        b"content-disposition",
        b"cache-control",
        b"location",
        b"x-accel-buffering",
        b"x-should-retry",
    }
)
_STORED_PREFIXES = (b"x-groxy-", b"openai-")
"""Of the first reply's headers, a later one has those. What it told of limits is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentEndpoint:
    """An endpoint that runs once for each idempotency key."""

    endpoint: AsgiApp
    replays: Replays
    owner_of: Callable[[Scope], Awaitable[str]]
    """Tells whose key it is: the same word of another owner is another key."""
    most_bytes: Callable[[], int]
    """Of a request's body."""
    stall_s: Callable[[], float]
    """How long a client may take nothing of what it is sent."""
    is_in_books: bool
    """True when the endpoint enters its requests in the books; see `Replays.open`."""
    log: Logger = field(default_factory=lambda: get_logger("api"))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        key = header(scope, _HEADER)
        if key is None:
            return self.endpoint(scope, receive, send)
        return self._serve_once(key, scope, receive, send)

    async def _serve_once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        owner = await self.owner_of(scope)
        _check(key)
        body = await read_body(scope, receive, limit=self.most_bytes())
        path: str = scope["path"].removeprefix("/api")
        mine = Recording(
            name_of(owner, path, key),
            owner=owner,
            request_id=scope["groxy.request_id"],
            fingerprint=fingerprint_of(path, header(scope, b"content-type") or "", body),
            max_bytes=self.replays.max_bytes,
        )
        sent = mine.fingerprint  # What is stored may change the recording's own.

        async def run(recording: Recording) -> None:
            await self._run(recording, dict(scope), body)

        recording = self.replays.open(mine, run, is_in_books=self.is_in_books)
        follower = recording.follow()
        try:
            await follower.decided()
            if recording.fingerprint != sent:
                raise _reused()
            await self._pass_on(recording, follower, send, is_first=recording is mine)
        finally:
            recording.leave(follower)

    async def _run(self, recording: Recording, scope: Scope, body: bytes) -> None:
        """Run the endpoint; errors that it raises are part of what is recorded."""
        scope[RECORDING] = recording
        reply = Reply(_into(recording), scope)
        try:
            await self.endpoint(scope, _giving(body), reply)
        except GroxyError as error:
            recording.reason = recording.reason or error.kind
            await reply.fail(error, None)
        except Exception:  # the recording is told, and its followers
            self.log.exception("endpoint crashed", request=recording.request_id)
            message = "The gateway made a mistake. Quote the request id when you report it."
            recording.reason = ErrorKind.INTERNAL
            await reply.fail(GroxyError(ErrorKind.INTERNAL, message), None)

    async def _pass_on(
        self, recording: Recording, follower: Follower, send: Send, *, is_first: bool
    ) -> None:
        """Send a recording to one client, as far as it takes it."""
        status, headers = await follower.head()
        if recording.is_replay or not is_first:
            kept = [one for one in headers if _is_stored(one[0])]
            headers = [*kept, _REPLAYED, (_ORIGINAL, recording.request_id.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        try:
            while True:
                piece, is_last = await follower.read()
                if is_last and recording.is_broken:
                    return  # The end is missing, and shall be missed.
                await self._send(send, piece, is_last=is_last)
                if is_last:
                    return
        except TimeoutError:
            return  # This client stopped reading.

    async def _send(self, send: Send, piece: bytes, *, is_last: bool) -> None:
        for at in range(0, len(piece) or 1, _PIECE_BYTES):
            part = piece[at : at + _PIECE_BYTES]
            has_more = not is_last or at + _PIECE_BYTES < len(piece)
            async with asyncio.timeout(self.stall_s()):
                await send({"type": "http.response.body", "body": part, "more_body": has_more})


def caller_of(keyring: Keyring) -> Callable[[Scope], Awaitable[str]]:
    """Return what tells the id of the caller's key; it raises what `identify` does."""

    async def owner_of(scope: Scope) -> str:
        return identify(keyring, scope).key_id

    return owner_of


def fingerprint_of(path: str, content_type: str, body: bytes) -> bytes:
    """Return what tells one request from another under the same key: 32 bytes."""
    digest = hashlib.sha256(path.encode() + b"\0")
    boundary = _boundary_of(content_type)
    if not boundary:
        digest.update(body)
        return digest.digest()
    at, view = 0, memoryview(body)
    while (end := body.find(boundary, at)) >= 0:
        # With its length, so that parts cannot be moved into each other.
        digest.update(b"%d:" % (end - at))
        digest.update(view[at:end])
        at = end + len(boundary)
    digest.update(view[at:])
    return digest.digest()


def _boundary_of(content_type: str) -> bytes:
    """Return what stands between the parts of a multipart body; empty for any other one."""
    kind, *parameters = content_type.split(";")
    if not kind.strip().lower().startswith("multipart/"):
        return b""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            value = value.strip().strip('"')
            return b"--" + value.encode("latin-1") if value else b""
    return b""


def _check(key: str) -> None:
    if not 0 < len(key) <= _MAX_CHARS or not key.isascii() or not key.isprintable():
        message = f"`idempotency-key` must have 1 to {_MAX_CHARS} printable ASCII characters."
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            message,
            param="idempotency-key",
            code="invalid_idempotency_key",
        )


def _is_stored(name: bytes) -> bool:
    return name in _STORED or name.startswith(_STORED_PREFIXES)


def _into(recording: Recording) -> Send:
    """Return a `send` that records."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Headers = [one for one in message["headers"] if one[0] not in _OWN]
            await recording.start(message["status"], headers)
        else:
            is_last = not message.get("more_body", False)
            await recording.send(message.get("body", b""), is_last=is_last)

    return send


def _giving(body: bytes) -> Receive:
    """Return a `receive` that gives a whole body, of a client that never leaves."""
    bodies = [body]

    async def receive() -> Message:
        if not bodies:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    return receive


def _reused() -> GroxyError:
    message = (
        "This `idempotency-key` was used with another body. A key is for one request: send "
        "another key, or the first body again."
    )
    return GroxyError(
        ErrorKind.CONFLICT, message, param="idempotency-key", code="idempotency_key_reused"
    )
