"""Events on their way to a caller: numbered, named, framed."""

from typing import Any

from groxy.wire.json import encode
from groxy.wire.sse import DONE

LAST = b"data: " + DONE + b"\n\n"
"""Open Responses wants it; clients that do not know it ignore it."""


class EventWriter:
    """Writes the events of one stream."""

    def __init__(self) -> None:
        self.sequence = 0
        """The number of the next event."""
        self.is_silent = False
        """True where only the final object matters: nothing is written."""

    def write(self, kind: str, fields: dict[str, Any]) -> bytes:
        """Return one event; `event:` says the same as its type."""
        if self.is_silent:
            return b""
        body = encode({"type": kind, "sequence_number": self.sequence, **fields})
        self.sequence += 1
        return framed(kind, body)


def framed(kind: str, body: bytes) -> bytes:
    """Return an event's bytes."""
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"
