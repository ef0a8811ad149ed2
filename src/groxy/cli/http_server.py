"""The HTTP server: uvicorn, in this process or in several, with bounds that it does not have.

In: an ASGI application, or the name of what makes one, and where to listen. Out: nothing; it serves
until told to stop. uvicorn bounds neither how long a request's head is nor how long head and body
may take, so anybody could fill the memory, or hold connections for ever: `BoundedProtocol` does.
How long a body is at most is the application's business.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT as CHAT

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together, and of whatever else is no body: lengths of chunks and
what follows the last one."""
_HEAD_S = 30.0
"""How long a head may take, from the connection's first moment or the head's first byte."""
_SILENCE_S = 30.0
"""How long a body may bring nothing."""
_BODY_S = 60.0
"""How long a body may take, and one second more for each `_BODY_PACE` bytes of it."""
_BODY_PACE = 16 * 1024
_LOOK_S = 1.0
"""How often a body that did not come with its head is looked at."""
_KEEP_ALIVE_S = 75
"""Longer than clients and load balancers keep an idle connection: else they send into a closed one.
"""
_BACKLOG = 4096
_SILENT = logging.CRITICAL + 1
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_in_head = True
        self._head_bytes = 0
        """What came since something was made of it."""
        self._patience: asyncio.TimerHandle | None = None
        self._body_bytes = 0
        self._look: asyncio.TimerHandle | None = None
        """At a body that is not all there."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end_patience()
        self._end_looks()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within bounds."""
        self._head_bytes += len(data)
        if self._is_in_head and data.lower().find(b"pgrade") >= 0:
            data = _never_upgraded(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._is_in_head and self._head_bytes and self._patience is None:
            self._be_patient()
        elif not self._is_in_head and self._look is None:
            self._look_later(0.0, 0.0, self._body_bytes)

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = _PlainCycle  # uvicorn makes them itself
        self._is_in_head, self._head_bytes, self._body_bytes = False, 0, 0
        self._end_patience()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one behind the body is none: nobody asked for it."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._head_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        super().on_message_complete()
        self._is_in_head, self._head_bytes = True, 0
        self._end_looks()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the shape of all other errors."""
        del msg
        message = "This is no HTTP/1.1 request. Check its method, its address and its headers."
        self._answer(400, GroxyError(ErrorKind.BAD_REQUEST, message))

    def _refuse(self) -> None:
        message = f"The request's headers are too large; {MAX_HEAD_BYTES} bytes are the most."
        self._answer(431, GroxyError(ErrorKind.BAD_REQUEST, message, code="headers_too_large"))

    def _answer(self, status: int, error: GroxyError) -> None:
        """Answer and close, unless an answer to something else is under way."""
        if self.transport.is_closing():
            return
        if not (self._is_answering() and self.cycle.response_started):
            body = CHAT.encode_error(error)
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n" % (status, len(body)) + body
            )
        self.transport.close()

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(_HEAD_S, self._give_up)

    def _end_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()

    def _give_up(self) -> None:
        self._patience = None
        if self._is_answering():
            self._be_patient()  # What came may be a line end too many behind the request.
        else:
            self.transport.close()

    def _look_later(self, taken_s: float, silent_s: float, seen_bytes: int) -> None:
        """Look at the body in a moment; so far it took and was silent for so long."""
        self._look = self.loop.call_later(
            _LOOK_S, self._look_at_body, taken_s, silent_s, seen_bytes
        )

    def _end_looks(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_at_body(self, taken_s: float, silent_s: float, seen_bytes: int) -> None:
        """Give the body up, or look again.

        Time is what passes from look to look while the client could send, by what each finds. So
        nothing needs to be noted when reading stops and goes on, and a loop that stood still, which
        is not the client's fault either, counts as one look.
        """
        if not self._keeps_client_waiting():
            taken_s += _LOOK_S
            silent_s = silent_s + _LOOK_S if self._body_bytes == seen_bytes else 0.0
        if silent_s >= _SILENCE_S or taken_s > _BODY_S + self._body_bytes / _BODY_PACE:
            self._look = None
            self._give_body_up()
        else:
            self._look_later(taken_s, silent_s, self._body_bytes)

    def _keeps_client_waiting(self) -> bool:
        """Whether it is us who do not read the body, or who have something else to do first."""
        return (
            self.flow.read_paused
            or self.cycle.waiting_for_100_continue
            or bool(self.pipeline)  # an earlier request is being answered
            or (self.cycle.response_started and not self.cycle.response_complete)
        )

    def _give_body_up(self) -> None:
        if self.cycle.response_complete:
            self.transport.close()
            return
        message = (
            f"The request's body came too slowly. Send some of it every {_SILENCE_S:.0f} seconds, "
            f"and all in {_BODY_S:.0f} seconds and one more for each {_BODY_PACE // 1024} KiB."
        )
        self._answer(408, GroxyError(ErrorKind.BAD_REQUEST, message, code="body_too_slow"))

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete


def _never_upgraded(data: bytes) -> bytes:
    """Return a head that asks for no other protocol: a server need not heed that (RFC 9110, 7.8).

    httptools takes whatever follows such a head for the other protocol, so the body would be lost.
    Java's own client asks for `h2c` with each first request.
    """
    head, blank, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-not-upgraded:", head) + blank + rest


class _PlainCycle(RequestResponseCycle):
    """A request of HTTP/1.0, which knows no chunks.

    A reply of unknown length ends with its connection.
    """

    _is_endless = False

    async def send(self, message: Any) -> None:  # noqa: ANN401 - an ASGI message
        """Send a part of the reply."""
        if message["type"] == "http.response.start":
            self._is_endless = all(
                name != b"content-length" for name, _ in message.get("headers", ())
            )
            self.chunked_encoding = False if self._is_endless else None
        elif self._is_endless:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class Server(uvicorn.Server):
    """A server in a loop of ours; signals are its owner's business."""

    def __init__(self, config: uvicorn.Config, listeners: list[socket.socket]) -> None:
        super().__init__(config)
        self._listeners = listeners

    async def run_here(self) -> None:
        """Serve until `stop` was called and all open requests have ended."""
        await self.serve(sockets=self._listeners)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Take no more connections, and no more requests on those that are open."""
        self.should_exit = True


def server_of(application: Any, host: str, port: int) -> Server:  # noqa: ANN401 - any ASGI one
    """Return a server for an application without lifespan; its port is taken from now on."""
    return Server(_config(application, lifespan="off"), _listeners(host, port))


def serve_workers(factory: str, host: str, port: int, *, workers: int, grace_s: float) -> None:
    """Serve from several processes, until SIGINT or SIGTERM; one that dies is replaced.

    `factory` names what makes the application, such as `groxy.cli.worker:create_app`; it has a
    lifespan. Open requests may go on for `grace_s` seconds after the signal. Raises INTERNAL when
    the application could not be started; why is in the log.
    """
    config = _config(
        factory,
        factory=True,
        workers=workers,
        timeout_graceful_shutdown=max(int(grace_s), 1),
    )
    supervisor = Multiprocess(config, sockets=_listeners(host, port))
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        message = "A worker could not be started. Why is in the log above."
        raise GroxyError(ErrorKind.INTERNAL, message)


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of `host`; raise OSError when there is none to be had.

    `::` is for everybody, also for those with an address of IPv4.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, address in dict.fromkeys((one[0], one[4]) for one in found):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            listener.bind(address)
        except OSError as error:  # a name may have an address that the machine has not
            failure = error
            listener.close()
        else:
            sockets.append(listener)
    if not sockets and failure is not None:
        raise failure
    return sockets


def _config(application: Any, **more: Any) -> uvicorn.Config:  # noqa: ANN401 - any ASGI one
    return uvicorn.Config(
        application,
        http=BoundedProtocol,
        ws="none",
        interface="asgi3",
        # Whom to believe about addresses is a setting of ours.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level=_SILENT,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        **more,
    )
