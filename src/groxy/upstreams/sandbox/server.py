"""The sandbox as a server: a request's method, path and body in, a reply out.

`Sandbox.answer` is the one place that answers, for the gateway in-process (`transport`) and for
`create_app`, which serves the same over HTTP as a plain ASGI application. Routes: chat completions,
the model list, the key and the health. Replies are deterministic but for the ways to fail that a
request asks for (`faults`). Must not read settings, and keeps nothing but a bounded count of calls.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import Request, Role
from groxy.dialects.chat import DIALECT
from groxy.upstreams.sandbox.brain import CREATED, reply_to
from groxy.upstreams.sandbox.failures import Failure, failure_from, failure_of
from groxy.upstreams.sandbox.faults import Repeats, Script, take_script, without_failures
from groxy.upstreams.sandbox.plan import Step, split, stream_steps, whole_body, whole_steps
from groxy.upstreams.sandbox.playback import Counts, Playback
from groxy.wire.asgi import AsgiApp, AsgiClient, Receive, Scope, Send, header, read_body
from groxy.wire.json import encode
from groxy.wire.tokens import SplintrCounter

DEFAULT_MODELS = ("grok-4.7", "grok-4.3", "grok-4.20-reasoning", "grok-4.20-non-reasoning")
"""What the list shows when no models are given; every other one is answered as well."""
MAX_BODY_BYTES = 64 * 1024 * 1024
SCRIPT_HEADER = "x-sandbox"

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
    """Answers requests. `models` are all that it serves, none means any."""

    def __init__(
        self,
        models: Sequence[str] = (),
        tokens_per_s: float = 0.0,
        repeats: Repeats | None = None,
    ) -> None:
        self.counts = Counts()
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
            return self.refuse(error)

    def refuse(self, error: GroxyError) -> SandboxReply:
        """Return the reply to a request that is not answered because of `error`."""
        return self._failed(failure_from(error))

    def _route(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> SandboxReply:
        path = path.partition("?")[0].rstrip("/")
        if path.startswith("/api/"):
            path = path.removeprefix("/api")
        path = path.removeprefix("/v1")
        is_chat = path == DIALECT.upstream_path
        if method != ("POST" if is_chat else "GET"):
            raise GroxyError(ErrorKind.WRONG_METHOD, f"{method} is not allowed here.")
        if is_chat:
            return self._chat(headers, body)
        if path.startswith("/models/"):
            return self._json(_model(self._checked(path.removeprefix("/models/"))))
        match path:
            case "/models":
                models = self._models or DEFAULT_MODELS
                return self._json({"object": "list", "data": [_model(name) for name in models]})
            case "/api-key":
                return self._json(_KEY)
            case "/health":
                return self._json({"status": "ok", **asdict(self.counts)})
            case _:
                raise GroxyError(ErrorKind.NOT_FOUND, "The sandbox has no such path.")

    def _chat(self, headers: Mapping[str, str], body: bytes) -> SandboxReply:
        asked = DIALECT.decode_request(body)
        request = DIALECT.canonical(asked)
        self._checked(request.model)
        script, request = take_script(request, headers.get(SCRIPT_HEADER, ""))
        if script.times is not None:
            calls = self._repeats.call(_message_key(request, script))
            script = script if calls < script.times else without_failures(script)
        if script.error_after is not None and not asked.stream:
            script = replace(script, error_200=True)
        if failure := failure_of(script):
            return self._failed(failure, after_s=script.slow_first)
        reply = reply_to(request, script, self._tokens)
        pace = self._pace if script.pace is None else script.pace
        if asked.stream:
            steps = stream_steps(reply, script, wants_usage=asked.wants_usage, pace=pace)
            takes_time = bool(pace or script.slow_first or script.stall_after)
            return self._reply(_STREAM, steps, script, takes_time=takes_time)
        written = whole_body(reply, script)
        wait_s = script.slow_first + (reply.usage.output_tokens / pace if pace else 0)
        if script.stall_after or script.cut_after is not None or script.garbage_after is not None:
            return self._reply(_JSON, whole_steps(written, script), script, after_s=wait_s)
        headers = _JSON | {"content-length": str(len(written))}
        return self._reply(headers, (written,), script, after_s=wait_s)

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
            return self._sandbox.refuse(error)
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
