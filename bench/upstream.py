"""The upstream that every subject relays to: as fast as one core allows, and the same for all.

In: HTTP/1.1 requests on loopback, bodies of any size, with or without chunks. Out: bytes computed
beforehand, chosen by the path (chat or Responses) and the word in the request (`asks.py`), plus
`/v1/models` and `/stats`. It decodes no JSON and keeps nothing. It is written on bare sockets
because a server with an ASGI application behind it, granian's, answered 24,000 requests a second
on the core that it shares with the load generator where this one answered 82,000; nginx would have
been limited by the former.

    python bench/upstream.py --port 9100
"""

import argparse
import asyncio
import re
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import cast

import chat_form
import responses_form
import uvloop
from asks import MODEL, Ask, encode, read_word

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked")
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_UNTIL_LAST_CHUNK = -1
_MAX_HEAD_BYTES = 65536
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Stats:
    """What was served."""

    whole: int = 0
    streams: int = 0
    """Streams that were sent to their end."""
    streams_left: int = 0
    """Streams whose client went away half-way."""
    streams_open: int = 0
    refused: int = 0
    """Requests that could not be understood."""
    chat: int = 0
    """Requests in this dialect, whole and streamed."""
    responses: int = 0


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + _HEAD_END + body


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The replies of one dialect."""

    whole: bytes
    """The response with a whole reply, head included."""
    steps: Callable[[Ask], list[list[bytes]]]


CHAT = Form(_response("200 OK", chat_form.whole()), chat_form.steps)
RESPONSES = Form(_response("200 OK", responses_form.whole()), responses_form.steps)
_MODELS = _response("200 OK", encode({"object": "list", "data": [{"id": MODEL, "aliases": []}]}))
_BAD = _response("400 Bad Request", b'{"error":{"message":"no bench word in the request"}}')
_MISSING = _response("404 Not Found", b'{"error":{"message":"nothing here"}}')


@lru_cache(maxsize=64)
def stream_writes(form: Form, ask: Ask) -> tuple[bytes, ...]:
    """Return the writes of a stream: each event in an HTTP chunk of its own, as servers do."""
    steps = [
        b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in step)
        for step in form.steps(ask)
    ]
    writes = [
        b"".join(steps[at : at + ask.events_per_write])
        for at in range(0, ask.events, ask.events_per_write)
    ]
    writes[0] = _STREAM_HEAD + writes[0]
    # The end of the body leaves together with the last events.
    writes[-1] += _LAST_CHUNK
    return tuple(writes)


class _Stream:
    """One stream on its way out."""

    __slots__ = ("_at", "_began", "_gap_s", "_loop", "_stats", "_transport", "_writes")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.WriteTransport,
        stats: Stats,
        writes: tuple[bytes, ...],
        gap_us: int,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._stats = stats
        self._writes = writes
        self._gap_s = gap_us / 1e6
        self._at = 0
        self._began = loop.time()
        stats.streams_open += 1
        self._step()

    def _step(self) -> None:
        """Write what is due, and come back for the next write."""
        if self._transport.is_closing():
            self._stats.streams_open -= 1
            self._stats.streams_left += 1
            return
        self._transport.write(self._writes[self._at])
        self._at += 1
        if self._at == len(self._writes):
            self._stats.streams_open -= 1
            self._stats.streams += 1
        elif self._gap_s:
            self._loop.call_at(self._began + self._at * self._gap_s, self._step)
        else:
            # The loop flushes what was written before it comes back here.
            self._loop.call_soon(self._step)


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    __slots__ = ("_ask", "_head", "_loop", "_missing_bytes", "_stats", "_target", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, stats: Stats) -> None:
        self._loop = loop
        self._stats = stats
        self._head = b""
        self._target = b""
        self._missing_bytes = 0
        self._ask: Ask | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request, and answer once it is complete."""
        if self._missing_bytes:
            self._take_body(data)
            return
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            if len(self._head) > _MAX_HEAD_BYTES:
                self._transport.close()
            return
        head, body = self._head[:end].lower(), self._head[end + len(_HEAD_END) :]
        self._head = b""
        self._target = head[: head.find(b"\r\n")]
        self._ask = None
        length = _LENGTH.search(head)
        if length is not None:
            self._missing_bytes = int(length[1])
        elif _CHUNKED.search(head):
            self._missing_bytes = _UNTIL_LAST_CHUNK
        if self._missing_bytes:
            self._take_body(body)
        else:
            self._answer()

    def _take_body(self, piece: bytes) -> None:
        if self._ask is None and piece:
            self._ask = read_word(piece)
        if self._missing_bytes == _UNTIL_LAST_CHUNK:
            if piece.endswith(_LAST_CHUNK):
                self._missing_bytes = 0
        else:
            self._missing_bytes -= len(piece)
        if not self._missing_bytes:
            self._answer()

    def _answer(self) -> None:
        target = self._target
        if b"/chat/completions" in target:
            self._stats.chat += 1
            self._reply(CHAT)
        elif target.startswith(b"post ") and b"/responses " in target:
            self._stats.responses += 1
            self._reply(RESPONSES)
        elif target.startswith(b"get ") and b"/models" in target:
            self._transport.write(_MODELS)
        elif target.startswith(b"get /stats"):
            self._transport.write(_response("200 OK", encode(asdict(self._stats))))
        else:
            self._transport.write(_MISSING)

    def _reply(self, form: Form) -> None:
        ask = self._ask
        if ask is None:
            self._stats.refused += 1
            self._transport.write(_BAD)
        elif ask.events:
            writes = stream_writes(form, ask)
            _Stream(self._loop, self._transport, self._stats, writes, ask.gap_us)
        else:
            self._stats.whole += 1
            self._transport.write(form.whole)


async def serve(port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    stats = Stats()
    server = await loop.create_server(
        lambda: Connection(loop, stats), "127.0.0.1", port, backlog=4096
    )
    told_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    await told_to_stop.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A fast upstream to measure gateways with.")
    parser.add_argument("--port", type=int, default=9100)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
