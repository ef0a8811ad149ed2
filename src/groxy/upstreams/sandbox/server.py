"""The sandbox as a server: a request's method, path and body in, a reply out.

`Sandbox.answer` is the one place that answers, for the gateway in-process (`transport`) and for
`create_app`, which serves the same over HTTP as a plain ASGI application. Routes: every dialect
that produces text, each by its path; embeddings and tokens; the model list, the key and the health.
Replies are deterministic but for the ways to fail that a request asks for (`faults`). Must not read
settings, and keeps nothing but a bounded count of calls.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import Request, Role
from groxy.dialects._base import CallersEnd
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.upstreams.sandbox.brain import CREATED, reply_to
from groxy.upstreams.sandbox.embedded import order_of, reply_pieces, request_of
from groxy.upstreams.sandbox.failures import Failure, failure_from, failure_of
from groxy.upstreams.sandbox.faults import Repeats, Script, take_script, without_failures
from groxy.upstreams.sandbox.plan import (
    Step,
    Writing,
    split,
    stream_steps,
    whole_body,
    whole_steps,
)
from groxy.upstreams.sandbox.playback import Counts, Playback
from groxy.upstreams.sandbox.seal import carried
from groxy.upstreams.sandbox.tokenized import tokenize_request, tokenized
from groxy.upstreams.sandbox.vectors import best_embedder
from groxy.wire.asgi import AsgiApp, AsgiClient, Receive, Scope, Send, header, read_body
from groxy.wire.json import encode
from groxy.wire.tokens import SplintrCounter

DEFAULT_MODELS = ("grok-4.7", "grok-4.3", "grok-4.20-reasoning", "grok-4.20-non-reasoning")
"""What the list shows when no models are given; every other one is answered as well."""
MAX_BODY_BYTES = 64 * 1024 * 1024
SCRIPT_HEADER = "x-sandbox"
DIALECTS = ("chat", "responses", "messages", "completions", "embeddings")
"""All that it speaks, best first."""

_SPOKEN: tuple[CallersEnd, ...] = (CHAT, RESPONSES, MESSAGES, COMPLETIONS)
_TEXT = {dialect.upstream_path: dialect for dialect in _SPOKEN}
_TOKENIZE = "/tokenize-text"
_KEEPS_NOTHING = (
    "The sandbox keeps no replies, so it cannot go on from one. "
    "Send the whole conversation as `input`, or ask through Groxy, which keeps them."
)
_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReply:
    """A reply: its head, when the head is sent, and a body that is still to be played."""

    status: int
    headers: Mapping[str, str]
    body: Playback
    head_after_s: float = 0.0
    takes_time: bool = False
    """True when somebody should watch whether the client is still there."""


class Sandbox:
    """Answers requests. `models` are all that it serves, none means any; `dialects` it speaks."""

    def __init__(
        self,
        models: Sequence[str] = (),
        tokens_per_s: float = 0.0,
        repeats: Repeats | None = None,
        dialects: Sequence[str] = DIALECTS,
    ) -> None:
        self.counts = Counts()
        self._dialects = frozenset(dialects)
        self._models = tuple(models)
        self._known = frozenset(models)
        self._pace = tokens_per_s
        self._repeats = repeats or Repeats()
        self._tokens = SplintrCounter()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> SandboxReply:
        """Return the reply to one request, errors included; raises nothing.

        Names in `headers` are lower-case; only `x-sandbox` is read.
        """
        self.counts.requests += 1
        try:
            return self._route(method, path, headers, body)
        except GroxyError as error:
            return self.refuse(error, path)

    def refuse(self, error: GroxyError, path: str = "") -> SandboxReply:
        """Return the reply to a request that is not answered because of `error`."""
        dialect = _TEXT.get(_plain(path))
        return self._failed(failure_from(error, dialect.name if dialect else ""))

    def _route(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> SandboxReply:
        path = _plain(path)
        dialect = _TEXT.get(path)
        posts = dialect is not None or path in (EMBEDDINGS.upstream_path, _TOKENIZE)
        if method != ("POST" if posts else "GET"):
            raise GroxyError(ErrorKind.WRONG_METHOD, f"{method} is not allowed here.")
        if dialect is not None:
            return self._text(dialect, headers, body)
        if path.startswith("/models/"):
            return self._json(_model(self._checked(path.removeprefix("/models/"))))
        match path:
            case EMBEDDINGS.upstream_path:
                return self._embedded(headers, body)
            case _ if path == _TOKENIZE:
                return self._tokenized(headers, body)
            case "/models":
                models = self._models or DEFAULT_MODELS
                return self._json({"object": "list", "data": [_model(name) for name in models]})
            case "/api-key":
                return self._json(_KEY)
            case "/health":
                return self._json({"status": "ok", **asdict(self.counts)})
            case _:
                raise _no_such_path()

    def _text(self, dialect: CallersEnd, headers: Mapping[str, str], body: bytes) -> SandboxReply:
        if dialect.name not in self._dialects:
            raise _no_such_path()
        asked = dialect.decode_request(carried(body) if dialect is MESSAGES else body)
        if asked.continues:
            raise GroxyError(ErrorKind.BAD_REQUEST, _KEEPS_NOTHING, param="previous_response_id")
        script, request = self._scripted(dialect.canonical(asked), headers)
        if script.error_after is not None and not asked.stream:
            script = replace(script, error_200=True)
        if failure := failure_of(script, dialect.name):
            return self._failed(failure, after_s=script.slow_first)
        answer = reply_to(request, script, self._tokens)
        writing = Writing(answer=answer, dialect=dialect, asked=asked, script=script)
        pace = self._pace if script.pace is None else script.pace
        if asked.stream:
            steps = stream_steps(writing, pace=pace)
            takes_time = bool(pace or script.slow_first or script.stall_after)
            return self._reply(_STREAM, steps, script, takes_time=takes_time)
        wait_s = script.slow_first + (answer.usage.output_tokens / pace if pace else 0)
        return self._whole((whole_body(writing),), script, wait_s)

    def _embedded(self, headers: Mapping[str, str], body: bytes) -> SandboxReply:
        if EMBEDDINGS.name not in self._dialects:
            raise _no_such_path()
        wanted = EMBEDDINGS.wanted(EMBEDDINGS.decode_request(body))
        script, request = self._scripted(request_of(wanted), headers)
        if script.error_after is not None:
            script = replace(script, error_200=True)
        if failure := failure_of(script, EMBEDDINGS.name):
            return self._failed(failure, after_s=script.slow_first)
        embedder = best_embedder()
        order = order_of(wanted, request, embedder, self._tokens)
        return self._whole(reply_pieces(order, script, embedder), script, script.slow_first)

    def _tokenized(self, headers: Mapping[str, str], body: bytes) -> SandboxReply:
        script, request = self._scripted(tokenize_request(body), headers)
        if failure := failure_of(script):
            return self._failed(failure, after_s=script.slow_first)
        return self._whole((tokenized(request, self._tokens),), script, script.slow_first)

    def _scripted(self, request: Request, headers: Mapping[str, str]) -> tuple[Script, Request]:
        """Return what a request asks to go wrong this time, and the request without that."""
        self._checked(request.model)
        script, request = take_script(request, headers.get(SCRIPT_HEADER, ""))
        if script.times is not None:
            calls = self._repeats.call(_message_key(request, script))
            script = script if calls < script.times else without_failures(script)
        return script, request

    def _whole(self, pieces: Iterable[bytes], script: Script, wait_s: float) -> SandboxReply:
        if script.stall_after or script.cut_after is not None or script.garbage_after is not None:
            steps = whole_steps(b"".join(pieces), script)
            return self._reply(_JSON, steps, script, after_s=wait_s)
        headers = _JSON
        if isinstance(pieces, tuple):
            headers = _JSON | {"content-length": str(sum(map(len, pieces)))}
        return self._reply(headers, pieces, script, after_s=wait_s)

    def _reply(
        self,
        headers: Mapping[str, str],
        steps: Iterable[Step],
        script: Script,
        *,
        after_s: float = 0.0,
        takes_time: bool = False,
    ) -> SandboxReply:
        if script.split:
            steps = split(steps, script.split)
        return SandboxReply(
            status=200,
            headers=headers,
            body=Playback(steps, self.counts, joins=not script.split),
            head_after_s=after_s,
            takes_time=takes_time or bool(after_s or script.stall_after),
        )

    def _json(self, value: object) -> SandboxReply:
        return SandboxReply(status=200, headers=_JSON, body=Playback((encode(value),), self.counts))

    def _failed(self, failure: Failure, *, after_s: float = 0.0) -> SandboxReply:
        return SandboxReply(
            status=failure.status,
            headers=failure.headers,
            body=Playback((failure.body,), self.counts),
            head_after_s=after_s,
            takes_time=bool(after_s),
        )

    def _checked(self, model: str) -> str:
        if self._known and model not in self._known:
            raise GroxyError(
                ErrorKind.UNKNOWN_MODEL,
                f"The model {model[:100]} does not exist or your team does not have access to it.",
            )
        return model


def create_app(models: Sequence[str] = (), tokens_per_s: float = 0.0) -> AsgiApp:
    """Return the stand-alone sandbox as an ASGI application."""
    return _App(Sandbox(models, tokens_per_s))


class _App:
    """Serves a sandbox over ASGI."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        if scope["type"] != "http":
            return
        reply = await self._answered(scope, receive)
        client = AsgiClient(receive, send)
        try:
            if reply.takes_time:
                await _send_while_there(reply, client)
            else:
                await _send(reply, client)
        finally:
            reply.body.close()

    async def _answered(self, scope: Scope, receive: Receive) -> SandboxReply:
        script = header(scope, SCRIPT_HEADER.encode()) or ""
        try:
            body = await read_body(scope, receive, limit=MAX_BODY_BYTES)
        except GroxyError as error:
            return self._sandbox.refuse(error, scope["path"])
        return self._sandbox.answer(scope["method"], scope["path"], {SCRIPT_HEADER: script}, body)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send_while_there(reply: SandboxReply, client: AsgiClient) -> None:
    """Send a reply that takes its time, and stop as soon as the client is gone."""
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send(reply, client))
        leaving = group.create_task(client.gone())
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        leaving.cancel()


async def _send(reply: SandboxReply, client: AsgiClient) -> None:
    if reply.head_after_s:
        await asyncio.sleep(reply.head_after_s)
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    await client.start(reply.status, headers)
    try:
        async for chunk in reply.body:
            await client.send(chunk, is_last=False)
    except GroxyError:
        return  # Without a last message, the server drops the connection.
    await client.send(b"", is_last=True)


def _plain(path: str) -> str:
    """Return a path without its query, `/api` and `/v1`."""
    path = path.partition("?")[0].rstrip("/")
    if path.startswith("/api/"):
        path = path.removeprefix("/api")
    return path.removeprefix("/v1")


def _no_such_path() -> GroxyError:
    return GroxyError(ErrorKind.NOT_FOUND, "The sandbox has no such path.")


def _message_key(request: Request, script: Script) -> bytes:
    """Return what tells the calls of one message and script from all others."""
    last = next((each for each in reversed(request.messages) if each.role is Role.USER), None)
    return blake2b(repr((script, last)).encode(errors="replace"), digest_size=16).digest()


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "xai"}


_KEY = {
    "redacted_api_key": "xai-...dbox",
    "name": "sandbox",
    "user_id": "sandbox",
    "team_id": "sandbox",
    "api_key_id": "sandbox",
    "acls": ["api-key:model:*", "api-key:endpoint:*"],
    "team_blocked": False,
    "api_key_blocked": False,
    "api_key_disabled": False,
}
