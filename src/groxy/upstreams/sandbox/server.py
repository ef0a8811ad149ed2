"""The sandbox as a server: a request's method, path and body in, a reply out.

`Sandbox.answer` is the one place that answers, for the gateway in-process (`transport`) and for
`create_app`, which serves the same over HTTP as a plain ASGI application. Routes: every dialect
that produces text, each by its path; embeddings and tokens; pictures and films (`studio`); the
health; and what `desk` tells.
Replies are deterministic but for the ways to fail that a request, or the script of its key, asks
for (`faults`, `keys`). Must not read settings, and keeps nothing but bounded counts of calls and of
deletions.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import Request
from groxy.dialects._base import CallersEnd, ThoughtsShown
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.upstreams.sandbox.account import encode_account
from groxy.upstreams.sandbox.asks import (
    Ask,
    address_of,
    key_of,
    limits_of,
    message_key,
    refusal,
)
from groxy.upstreams.sandbox.brain import reply_to
from groxy.upstreams.sandbox.desk import (
    FAULTS,
    Desk,
    no_such_path,
    plain_path,
    wrong_method,
)
from groxy.upstreams.sandbox.embedded import order_of, reply_pieces, request_of
from groxy.upstreams.sandbox.failures import Failure, failure_from, failure_of
from groxy.upstreams.sandbox.faults import (
    Repeats,
    Script,
    read_script,
    take_script,
    without_failures,
)
from groxy.upstreams.sandbox.keys import Keys
from groxy.upstreams.sandbox.orders import FILM_PATHS, PICTURE_PATHS, read_order
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
from groxy.upstreams.sandbox.studio import Studio
from groxy.upstreams.sandbox.tokenized import tokenize_request, tokenized
from groxy.upstreams.sandbox.vectors import best_embedder
from groxy.wire.asgi import AsgiApp, AsgiClient, Receive, Scope, Send, header, read_body
from groxy.wire.tokens import SplintrCounter

MAX_BODY_BYTES = 64 * 1024 * 1024
SCRIPT_HEADER = "x-sandbox"
DIALECTS = ("chat", "responses", "messages", "completions", "embeddings", "images", "videos")
"""All that it speaks, best first."""

_SPOKEN: tuple[CallersEnd, ...] = (CHAT, RESPONSES, MESSAGES, COMPLETIONS)
_TEXT = {dialect.upstream_path: dialect for dialect in _SPOKEN}
_TOKENIZE = "/tokenize-text"
_ASKING = {EMBEDDINGS.upstream_path, _TOKENIZE, *PICTURE_PATHS, *FILM_PATHS}
"""Paths besides the dialects' where a request counts."""
_GIVEN_HEADERS = (SCRIPT_HEADER, "authorization", "x-api-key", "content-type", "host")
"""All that is read of a request's headers."""
_KEEPS_NOTHING = (
    "The sandbox keeps no replies, so it cannot go on from one. "
    "Send the whole conversation as `input`, or ask through Groxy, which keeps them."
)
# 403 (braytonstafford/grok_conversation#9, 2025-04)
_NOT_ALLOWED = (
    "Your API key cannot be used to make requests against {} because it lacks permission for it."
)
_BROKEN = 500
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
        keys: Keys | None = None,
        studio: Studio | None = None,
    ) -> None:
        self.counts = Counts()
        self._dialects = frozenset(dialects)
        self._pace = tokens_per_s
        self._repeats = repeats or Repeats()
        self._keys = keys or Keys()
        self._studio = studio or Studio()
        self._desk = Desk(self._keys, models)
        self._tokens = SplintrCounter()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> SandboxReply:
        """Return the reply to one request, errors included; raises nothing.

        Names in `headers` are lower-case; `x-sandbox` is read, and the key that it came with.
        """
        self.counts.requests += 1
        try:
            return self._route(method, path, headers, body)
        except GroxyError as error:
            return self.refuse(error, path)

    def refuse(self, error: GroxyError, path: str = "") -> SandboxReply:
        """Return the reply to a request that is not answered because of `error`."""
        dialect = _TEXT.get(plain_path(path))
        return self._failed(failure_from(error, dialect.name if dialect else ""))

    def _route(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> SandboxReply:
        plain = plain_path(path)
        dialect = _TEXT.get(plain)
        if plain == "/health" and method == "GET":
            return self._json({"status": "ok", **asdict(self.counts)})
        if plain == FAULTS:
            return self._json(self._desk.switch(method, body))
        if dialect is None and plain not in _ASKING:
            return self._told(method, path, headers)
        if method != "POST":
            raise wrong_method(method)
        turn = self._keys.spend(key_of(headers))
        if turn.words:
            words = f"{turn.words} {headers.get(SCRIPT_HEADER, '')}"
            headers = {**headers, SCRIPT_HEADER: words}
        name = dialect.name if dialect else ""
        ask = Ask(dialect=name, headers=headers, body=body, turn=turn)
        if refused := refusal(turn):
            reply = self._failed(failure_from(refused, name), retry_after=refused.retry_after_s)
        elif dialect is not None:
            reply = self._text(dialect, ask)
        elif plain in PICTURE_PATHS or plain in FILM_PATHS:
            reply = self._ordered(plain, ask)
        else:
            is_tokens = plain == _TOKENIZE
            reply = self._tokenized(ask) if is_tokens else self._embedded(ask)
        limits = limits_of(ask)
        return replace(reply, headers={**reply.headers, **limits}) if limits else reply

    def _told(self, method: str, path: str, headers: Mapping[str, str]) -> SandboxReply:
        """Return what somebody is told who asks for no answer: of models, its key, its films."""
        key = key_of(headers)
        turn = self._keys.look(key)
        script = read_script(turn.words)
        if script.wrong_key or script.status >= _BROKEN:
            failure = failure_of(script, "")
            if failure is not None:
                return self._failed(failure, after_s=script.slow_first)
        plain = plain_path(path)
        if plain.startswith(("/videos/", "/media/")):
            shown = self._studio.show(method, plain, address_of(headers))
            body = Playback(shown.steps, self.counts)
            reply = SandboxReply(status=shown.status, headers=shown.headers, body=body)
        else:
            reply = self._json(self._desk.tell(method, path, key, turn))
        return replace(reply, head_after_s=script.slow_first, takes_time=bool(script.slow_first))

    def _text(self, dialect: CallersEnd, ask: Ask) -> SandboxReply:
        if dialect.name not in self._dialects:
            raise no_such_path()
        body = ask.body
        asked = dialect.decode_request(carried(body) if dialect is MESSAGES else body)
        if asked.continues:
            raise GroxyError(ErrorKind.BAD_REQUEST, _KEEPS_NOTHING, param="previous_response_id")
        script, request = self._scripted(dialect.canonical(asked), ask)
        if script.error_after is not None and not asked.stream:
            script = replace(script, error_200=True)
        if failure := failure_of(script, dialect.name):
            return self._failed(failure, after_s=script.slow_first)
        if request.options.reasoning_effort is not None and "thinking" not in asked.fields:
            asked.thoughts_shown = ThoughtsShown.ALL  # Gateways ask for them so, in Messages too.
        answer = reply_to(request, script, self._tokens)
        writing = Writing(answer=answer, dialect=dialect, asked=asked, script=script)
        pace = self._pace if script.pace is None else script.pace
        if asked.stream:
            steps = stream_steps(writing, pace=pace)
            takes_time = bool(pace or script.slow_first or script.stall_after)
            return self._reply(_STREAM, steps, script, takes_time=takes_time)
        wait_s = script.slow_first + (answer.usage.output_tokens / pace if pace else 0)
        return self._whole((whole_body(writing),), script, wait_s)

    def _embedded(self, ask: Ask) -> SandboxReply:
        if EMBEDDINGS.name not in self._dialects:
            raise no_such_path()
        wanted = EMBEDDINGS.wanted(EMBEDDINGS.decode_request(ask.body))
        script, request = self._scripted(request_of(wanted), ask)
        if script.error_after is not None:
            script = replace(script, error_200=True)
        if failure := failure_of(script, EMBEDDINGS.name):
            return self._failed(failure, after_s=script.slow_first)
        embedder = best_embedder()
        order = order_of(wanted, request, embedder, self._tokens)
        return self._whole(reply_pieces(order, script, embedder), script, script.slow_first)

    def _ordered(self, path: str, ask: Ask) -> SandboxReply:
        order = read_order(path, ask.headers.get("content-type", ""), ask.body)
        if ("videos" if path in FILM_PATHS else "images") not in self._dialects:
            raise no_such_path()
        script, request = self._scripted(order.request, ask)
        if script.error_after is not None:
            script = replace(script, error_200=True)
        if failure := failure_of(script):
            return self._failed(failure, after_s=script.slow_first)
        order = replace(order, prompt=request.text)
        if path in FILM_PATHS:
            begun = self._json(self._studio.begin(order, script))
            waits = bool(script.slow_first)
            return replace(begun, head_after_s=script.slow_first, takes_time=waits)
        steps = self._studio.pictures(order, script, address_of(ask.headers))
        return self._reply(_JSON, steps, script, after_s=script.slow_first)

    def _tokenized(self, ask: Ask) -> SandboxReply:
        script, request = self._scripted(tokenize_request(ask.body), ask)
        if failure := failure_of(script):
            return self._failed(failure, after_s=script.slow_first)
        return self._whole((tokenized(request, self._tokens),), script, script.slow_first)

    def _scripted(self, request: Request, ask: Ask) -> tuple[Script, Request]:
        """Return what a request asks to go wrong this time, and the request without that."""
        self._desk.check(request.model)
        if ask.turn.script.models and request.model not in ask.turn.script.models:
            raise GroxyError(ErrorKind.FORBIDDEN, _NOT_ALLOWED.format(request.model[:100]))
        script, request = take_script(request, ask.headers.get(SCRIPT_HEADER, ""))
        if script.times is not None:
            calls = self._repeats.call(message_key(request, script))
            script = script if calls < script.times else without_failures(script)
        ask.script = script
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
        body = Playback((encode_account(value),), self.counts)
        return SandboxReply(status=200, headers=_JSON, body=body)

    def _failed(
        self, failure: Failure, *, after_s: float = 0.0, retry_after: float | None = None
    ) -> SandboxReply:
        headers = dict(failure.headers)
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:.3f}"
        return SandboxReply(
            status=failure.status,
            headers=headers,
            body=Playback((failure.body,), self.counts),
            head_after_s=after_s,
            takes_time=bool(after_s),
        )


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
        given = {name: header(scope, name.encode()) or "" for name in _GIVEN_HEADERS}
        path = scope["path"]
        if scope.get("query_string"):
            path = f"{path}?{scope['query_string'].decode('latin-1')}"
        try:
            body = await read_body(scope, receive, limit=MAX_BODY_BYTES)
        except GroxyError as error:
            return self._sandbox.refuse(error, scope["path"])
        return self._sandbox.answer(scope["method"], path, given, body)


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
