"""Server-sent events: bytes split anywhere in, whole events out.

Takes LF, CRLF and lone CR line ends, comments, a byte order mark and data over several lines.
Must not decode what an event carries.
"""

from groxy.core.errors import ErrorKind, GroxyError

MAX_EVENT_BYTES = 16 * 1024 * 1024
KEEPALIVE = b": keepalive\n\n"
DONE = b"[DONE]"

SseEvent = tuple[bytes, bytes]
"""An event's name (empty when it has none) and its data."""


class SseReader:
    """Collects bytes and returns the events that are complete."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._ended_in_cr = False
        self._fresh = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that `chunk` completes, in order.

        Raises BAD_REPLY when what was held before `chunk` is more than an event may be.
        """
        if self._held_bytes > MAX_EVENT_BYTES:
            raise GroxyError(
                ErrorKind.BAD_REPLY,
                "The upstream sent an event that is too large.",
                detail=f"event over {MAX_EVENT_BYTES} bytes",
            )
        if self._fresh:
            chunk = self._without_mark(chunk)
        if self._ended_in_cr or b"\r" in chunk:
            chunk = self._with_plain_line_ends(chunk)
        if not self._completes_an_event(chunk):
            self._hold(chunk)
            return []
        if self._pieces:
            self._pieces.append(chunk)
            chunk = b"".join(self._pieces)
            self._pieces.clear()
            self._held_bytes = 0
        *blocks, rest = chunk.split(b"\n\n")
        self._hold(rest)
        return [event for block in blocks if (event := _event_of(block)) is not None]

    def close(self) -> list[SseEvent]:
        """Return the last event when the stream ended without the blank line that should follow."""
        rest = b"".join(self._pieces).strip(b"\n")
        self._pieces.clear()
        event = _event_of(rest) if rest else None
        return [event] if event is not None else []

    def _completes_an_event(self, chunk: bytes) -> bool:
        if b"\n\n" in chunk:
            return True
        return chunk.startswith(b"\n") and bool(self._pieces) and self._pieces[-1].endswith(b"\n")

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._pieces.append(rest)
            self._held_bytes += len(rest)

    def _without_mark(self, chunk: bytes) -> bytes:
        mark = b"\xef\xbb\xbf"
        chunk = b"".join(self._pieces) + chunk
        self._pieces.clear()
        self._held_bytes = 0
        if len(chunk) < len(mark) and mark.startswith(chunk):
            self._hold(chunk)
            return b""
        self._fresh = False
        return chunk.removeprefix(mark)

    def _with_plain_line_ends(self, chunk: bytes) -> bytes:
        if self._ended_in_cr and chunk:
            # The CR went out as a line end already; an LF right behind it is the same one.
            chunk = chunk.removeprefix(b"\n")
            self._ended_in_cr = False
        if chunk:
            self._ended_in_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _event_of(block: bytes) -> SseEvent | None:
    """Read one block; None when it has no data (comments, ids, retry hints)."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return (b"", block[6:])
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return (name, b"\n".join(data)) if data else None
