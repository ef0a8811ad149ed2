"""Added latency: the same request through the gateway and straight to the upstream, by turns.

In: two targets. Out: how long each took, and the difference of each pair. Blocking sockets, one
request at a time: an event loop in between would be measured too. By turns, because what slows the
machine down for a moment then slows both.
"""

import socket
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from replies import EVENT, ReplyReader, flaw_of_stream, flaw_of_whole

_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 20.0
_MOST_FLAWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go, and the bytes of one."""

    host: str
    port: int
    request: bytes
    events: int
    """Events that a good stream has, usage included; 0 for whole replies."""

    @classmethod
    def of(cls, url: str, headers: list[str], body: bytes, events: int = 0) -> "Target":
        """Return the target that a URL names, for one request again and again."""
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = [
            f"POST {parts.path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return cls(host=host, port=port, request=head + body, events=events)


class _Connection:
    """A kept-alive connection, opened anew after a flaw."""

    def __init__(self, side: Target) -> None:
        self._side = side
        self._reader = ReplyReader()
        self._socket: socket.socket | None = None

    def ask(self) -> tuple[float, float, str]:
        """Return seconds to the first event, seconds to the end, and what is wrong, if anything."""
        try:
            first, total = self._exchange()
        except OSError as error:
            self.close()
            return 0.0, 0.0, type(error).__name__
        events = self._side.events
        reader = self._reader
        flaw = flaw_of_stream(reader, events) if events else flaw_of_whole(reader)
        if flaw:
            self.close()
        return first, total, flaw

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self) -> tuple[float, float]:
        connection = self._socket or self._connect()
        reader, clock = self._reader, time.perf_counter
        reader.start()
        first = 0.0
        began = clock()
        connection.sendall(self._side.request)
        while True:
            piece = connection.recv(_RECEIVE_BYTES)
            if not first and EVENT in piece:
                first = clock() - began
            if reader.feed(piece):
                return first, clock() - began
            if not piece:
                self.close()
                if reader.ends_with_connection:
                    return first, clock() - began
                raise ConnectionError("connection lost")

    def _connect(self) -> socket.socket:
        side = self._side
        connection = socket.create_connection((side.host, side.port), timeout=_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        return connection


def compare(
    gateway: Target, upstream: Target, *, seconds: float, warm_up: int = 20
) -> dict[str, object]:
    """Ask both by turns for `seconds`; the first `warm_up` pairs do not count."""
    ways = {"gateway": _Connection(gateway), "direct": _Connection(upstream)}
    seen: dict[str, list[float]] = {"gateway": [], "direct": [], "added": []}
    flaws: Counter[str] = Counter()
    ends_at = time.perf_counter() + seconds
    pairs, order = 0, list(ways)
    while time.perf_counter() < ends_at and flaws.total() < _MOST_FLAWS:
        took: dict[str, float] = {}
        # Who goes first changes with each pair: the second one finds warmer caches.
        for name in order:
            first, total, flaw = ways[name].ask()
            if flaw:
                flaws[f"{name}: {flaw}"] += 1
            else:
                took[name] = first if gateway.events else total
        pairs += 1
        order.reverse()
        if pairs > warm_up and len(took) == len(ways):
            for name, value in took.items():
                seen[name].append(value)
            seen["added"].append(took["gateway"] - took["direct"])
    for way in ways.values():
        way.close()
    return {
        "done": len(seen["added"]),
        "flaws": dict(flaws),
        "ms": {name: percentiles_ms(values) for name, values in seen.items()},
    }


def percentiles_ms(seconds: list[float]) -> dict[str, float]:
    """Return p50, p90, p99 and the largest, in milliseconds."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    last = len(ordered) - 1
    points = {f"p{point}": ordered[round(last * point / 100)] * 1000 for point in (50, 90, 99)}
    return points | {"max": ordered[-1] * 1000}
