"""HTTP/1.1 replies as the load generator needs them: when they end, and whether they are whole.

In: bytes as they arrive. Out: whether a reply is complete, its status, and what is wrong with it.
It reads what gateways send: a body with a length, one in chunks, or one that ends with the
connection. Nothing is decoded while the clock runs but what tells the end.
"""

import json
import re
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_HEAD_END = b"\r\n\r\n"
_BODY_END = b"\r\n0\r\n\r\n"
_STATUS_OK = 200
EVENT = b"data: {"


class ReplyReader:
    """Collects one reply after the other."""

    __slots__ = ("_is_chunked", "_missing_bytes", "_pieces", "_tail", "has_head", "status")

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Forget the last reply."""
        self.status = 0
        self.has_head = False
        self._pieces: list[bytes] = []
        self._missing_bytes = -1
        self._is_chunked = False
        self._tail = b""

    def feed(self, piece: bytes) -> bool:
        """Take a piece; return whether the reply is complete."""
        if not self.has_head:
            self._pieces.append(piece)
            piece = b"".join(self._pieces)
            end = piece.find(_HEAD_END)
            if end < 0:
                self._pieces = [piece]
                return False
            self._read_head(piece[:end].lower())
            # The line end of the head stays: an empty chunked body ends right behind it.
            self._tail = _HEAD_END
            piece = piece[end + len(_HEAD_END) :]
            self._pieces = []
        self._pieces.append(piece)
        if self._is_chunked:
            keep = len(_BODY_END)
            self._tail = piece[-keep:] if len(piece) >= keep else (self._tail + piece)[-keep:]
            return self._tail == _BODY_END
        if self._missing_bytes < 0:
            return False
        self._missing_bytes -= len(piece)
        return self._missing_bytes <= 0

    @property
    def ends_with_connection(self) -> bool:
        """True when only the end of the connection ends the body."""
        return self.has_head and not self._is_chunked and self._missing_bytes < 0

    @property
    def body(self) -> bytes:
        """The body, without the frames of its chunks."""
        raw = b"".join(self._pieces)
        return dechunked(raw) if self._is_chunked else raw

    def _read_head(self, head: bytes) -> None:
        self.has_head = True
        self.status = int(head[9:12])
        length = _LENGTH.search(head)
        if length is not None:
            self._missing_bytes = int(length[1])
        self._is_chunked = b"\r\ntransfer-encoding: chunked" in head


def dechunked(raw: bytes) -> bytes:
    """Return a chunked body without the frames, as far as it came."""
    parts: list[bytes] = []
    at = 0
    while (end := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:end].partition(b";")[0], 16)
        if not size:
            break
        parts.append(raw[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)


def flaw_of_whole(reader: ReplyReader) -> str:
    """Return what is wrong with a whole reply; empty when nothing is."""
    return "" if reader.status == _STATUS_OK else f"status {reader.status}"


def flaw_of_stream(reader: ReplyReader, events: int) -> str:
    """Return what is wrong with a stream that should have `events` events; empty if nothing is."""
    if reader.status != _STATUS_OK:
        return f"status {reader.status}"
    body = reader.body
    if b"data: [DONE]" not in body[-64:]:
        return "no [DONE]"
    seen = body.count(EVENT)
    return "" if seen == events else f"{seen} events instead of {events}"


@dataclass(frozen=True, slots=True)
class Content:
    """What a reply says."""

    text: str
    has_usage: bool
    events: int = 0
    """Events with JSON in them, of a stream."""


def content_of_whole(body: bytes) -> Content:
    """Return what a whole reply says."""
    reply = json.loads(body)
    usage = reply.get("usage") or {}
    text = reply["choices"][0]["message"]["content"]
    return Content(text, usage.get("completion_tokens", 0) > 0)


def content_of_stream(body: bytes) -> Content:
    """Return what a stream says."""
    events = [
        json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")
    ]
    texts = [
        choice["delta"].get("content") or "" for event in events for choice in event["choices"]
    ]
    has_usage = any((event.get("usage") or {}).get("completion_tokens", 0) > 0 for event in events)
    return Content("".join(texts), has_usage, len(events))
