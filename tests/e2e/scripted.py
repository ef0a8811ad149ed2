"""A scripted upstream: an xAI-like server on loopback, byte by byte under a test's control.

It runs in a thread of its own, so that a test may block. Each account of a gateway gets a `Seat`:
a base URL of its own, its own script, and a record of every call it got. What a seat does with a
call is a `Behaviour`; those at the end of this file are the good and bad days of real upstreams.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests.awake import awake_s

MODELS = ("grok-4", "grok-4.3")
KEY = {
    "redacted_api_key": "xai-...abcd",
    "acls": ["api-key:model:*", "api-key:endpoint:*"],
    "team_blocked": False,
    "api_key_blocked": False,
    "api_key_disabled": False,
}
"""What xAI tells of a key in good order."""
JSON = {"Content-Type": "application/json"}
EVENTS = {"Content-Type": "text/event-stream"}


@dataclass(eq=False)
class Call:
    """One chat request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    began: float = field(default_factory=time.monotonic)
    began_awake: float = field(default_factory=awake_s)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set once the gateway closed the connection before the answer was complete."""
    gone_at: float = 0.0
    sent_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def streams(self) -> bool:
        return bool(self.json.get("stream"))


class Wire:
    """The way back to the gateway."""

    def __init__(self, transport: asyncio.Transport, call: Call) -> None:
        self._transport = transport
        self._call = call
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_chunked = False
        self.keeps_open = True

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are; wait while the gateway does not take any."""
        await self.writable.wait()
        self._transport.write(data)
        self._call.sent_bytes += len(data)

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str] = JSON) -> None:
        await self.head(status, {**headers, "Content-Length": str(len(body))})
        await self.raw(body)

    async def begin_stream(self, headers: Mapping[str, str] = EVENTS) -> None:
        await self.head(200, {**headers, "Transfer-Encoding": "chunked"})
        self.is_chunked = True

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, event: object) -> None:
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        await self.chunk(b"data: " + data + b"\n\n")

    async def end_stream(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Drop the connection in the middle of things."""
        self._transport.abort()


Behaviour = Callable[[Call, Wire], Awaitable[None]]


class Seat:
    """One account's upstream."""

    def __init__(self, base_url: str, models: tuple[str, ...]) -> None:
        self.base_url = base_url
        self.models = models
        self.calls: list[Call] = []
        self.lists = 0
        """How often the model list was fetched."""
        self.key: Behaviour = says(KEY)
        """What is told of the account's key; a good one unless a test says otherwise."""
        self.key_calls = 0
        self._script: deque[Behaviour] = deque()
        self._always: Behaviour = good()

    def will(self, *behaviours: Behaviour) -> Self:
        """Do these with the next calls, one each; after them, what `always` says."""
        self._script.extend(behaviours)
        return self

    def always(self, behaviour: Behaviour) -> Self:
        """Do this whenever nothing else is planned; a good answer unless said otherwise."""
        self._always = behaviour
        return self

    def clear(self) -> None:
        self.calls.clear()
        self._script.clear()
        self._always = good()
        self.key = says(KEY)

    def next(self) -> Behaviour:
        return self._script.popleft() if self._script else self._always


class Upstream:
    """The server with all seats; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._seats: dict[str, Seat] = {}
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections: set[_Connection] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def seat(self, name: str = "a", models: tuple[str, ...] = MODELS) -> Seat:
        """Return the seat of this name; it is made when it is new."""
        if name not in self._seats:
            base_url = f"http://127.0.0.1:{self.port}/{name}/v1"
            self._seats[name] = Seat(base_url, models)
        return self._seats[name]

    async def _start(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """From now on nobody can connect, and who is connected is not any more."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        while self.connections:
            await asyncio.sleep(0.005)

    async def answer(self, call: Call, method: str, wire: Wire) -> None:
        name, _, path = call.path.lstrip("/").partition("/")
        seat = self._seats.get(name)
        if seat is None:
            await wire.whole(404, b'{"error":"no such seat"}')
        elif (method, path) == ("GET", "v1/models"):
            seat.lists += 1
            data = [{"id": model, "object": "model"} for model in seat.models]
            await wire.whole(200, json.dumps({"object": "list", "data": data}).encode())
        elif (method, path) == ("GET", "v1/api-key"):
            seat.key_calls += 1
            await seat.key(call, wire)
        else:
            seat.calls.append(call)
            await seat.next()(call, wire)


class _Connection(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._call: Call | None = None
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._upstream.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._call is not None:
            return
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (ln.partition(":") for ln in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ", 2)
        self._call = Call(path, headers, rest[:length])
        self._wire = Wire(self.transport, self._call)
        self._task = asyncio.get_running_loop().create_task(self._answer(method))

    async def _answer(self, method: str) -> None:
        call, wire = self._call, self._wire
        assert call is not None
        assert wire is not None
        await self._upstream.answer(call, method, wire)
        self._call = None
        call.ended.set()
        if not wire.keeps_open:
            self.transport.close()

    def pause_writing(self) -> None:
        if self._wire is not None:
            self._wire.writable.clear()

    def resume_writing(self) -> None:
        if self._wire is not None:
            self._wire.writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream.connections.discard(self)
        if self._call is not None:
            self._call.gone_at = time.monotonic()
            self._call.gone.set()
        if self._task is not None:
            self._task.cancel()


# ----------------------------------------------------------------------------- what is answered

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 0},
    "cost_in_usd_ticks": 1_230_000,
}
TICKS = 1_230_000
WORDS = ("Hello", " from", " the", " scripted", " upstream")
TEXT = "".join(WORDS)


def whole_reply(text: str = TEXT, **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "grok-4.3",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    } | changes


def chunk_of(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "grok-4.3",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def chunks_of(words: tuple[str, ...] = WORDS) -> list[dict[str, Any]]:
    """Every event of a good stream, before its end."""
    return [
        chunk_of({"role": "assistant", "content": ""}),
        *(chunk_of({"content": word}) for word in words),
    ]


def good(words: tuple[str, ...] = WORDS) -> Behaviour:
    """Answer as it should be, whole or streamed as asked."""

    async def behave(call: Call, wire: Wire) -> None:
        if not call.streams:
            await wire.whole(200, json.dumps(whole_reply("".join(words))).encode())
            return
        await wire.begin_stream()
        for event in chunks_of(words):
            await wire.event(event)
        await _end_well(wire)

    return behave


async def _end_well(wire: Wire) -> None:
    await wire.event(chunk_of({}, "stop"))
    await wire.event({**chunk_of({}), "choices": [], "usage": USAGE})
    await wire.event(b"[DONE]")
    await wire.end_stream()


def fails(
    status: int, body: bytes | dict[str, Any] = b"", headers: Mapping[str, str] = JSON
) -> Behaviour:
    """Answer with this status and body."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body

    async def behave(_call: Call, wire: Wire) -> None:
        await wire.whole(status, data, headers)

    return behave


def says(body: dict[str, Any] | bytes) -> Behaviour:
    """Answer 200 with this whole body, whatever was asked for."""
    return fails(200, body)


def streams(*events: object, then: Callable[[Wire], Awaitable[None] | None]) -> Behaviour:
    """Stream these events, then do `then`."""

    async def behave(_call: Call, wire: Wire) -> None:
        await wire.begin_stream()
        for event in events:
            await wire.event(event)
        result = then(wire)
        if result is not None:
            await result

    return behave


def end_stream(wire: Wire) -> Awaitable[None]:
    return wire.end_stream()


def end_well(wire: Wire) -> Awaitable[None]:
    return _end_well(wire)


async def stall(_wire: Wire) -> None:
    """Say nothing for longer than any test waits."""
    await asyncio.sleep(60)


def cut(wire: Wire) -> None:
    wire.cut()


def waits(seconds: float, behaviour: Behaviour | None = None) -> Behaviour:
    """Do nothing for a while, then behave."""
    chosen = behaviour or good()

    async def behave(call: Call, wire: Wire) -> None:
        await asyncio.sleep(seconds)
        await chosen(call, wire)

    return behave


async def silent(_call: Call, _wire: Wire) -> None:
    """Take the request and never answer."""
    await asyncio.sleep(60)


async def drops(_call: Call, wire: Wire) -> None:
    """Take the request and drop the connection."""
    wire.cut()


async def breaks_off(_call: Call, wire: Wire) -> None:
    """Send a part of a whole reply, then drop the connection."""
    body = json.dumps(whole_reply()).encode()
    await wire.head(200, {**JSON, "Content-Length": str(len(body))})
    await wire.raw(body[: len(body) // 2])
    await asyncio.sleep(0.02)
    wire.cut()
