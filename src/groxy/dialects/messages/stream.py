"""Events of an upstream's Messages stream, read as far as anybody here needs.

In: the data of one event. Out: a `StreamEvent`, or None for a type nobody knows, which is to be
passed over. Raises `EmbeddedError` for an error and BAD_REPLY for an event that is nonsense.
"""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.dialects._embedded import is_there
from groxy.dialects.messages.whole import Block
from groxy.wire.json import UNREADABLE

_NOTHING = msgspec.Raw(b"")


class Citation(msgspec.Struct):
    """A source; only those of the web have an address."""

    url: str | None = None
    title: str | None = None


class Delta(msgspec.Struct):
    """More of a block, or the end of the message."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = _NOTHING
    stop_reason: str | None = None
    stop_sequence: str | None = None


class OpenedMessage(msgspec.Struct):
    """The message as it starts."""

    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING

    @property
    def has_content(self) -> bool:
        """True when its content is a list, as clients rely on: they append its blocks to it."""
        return bytes(self.content)[:1] == b"["


class StreamEvent(msgspec.Struct):
    """An event of a type that matters here."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: OpenedMessage | None = None
    usage: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


class _Typed(msgspec.Struct):
    type: str | None = None


_KNOWN = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
_decode = msgspec.json.Decoder(StreamEvent).decode
_decode_type = msgspec.json.Decoder(_Typed).decode
_decode_citation = msgspec.json.Decoder(Citation).decode


def read_event(name: bytes, data: bytes) -> StreamEvent | None:
    """Read one event; where its data has no type, its `name` tells."""
    try:
        event = _decode(data)
    except UNREADABLE as error:
        if name == b"error":
            raise EmbeddedError(data) from None
        if _is_foreign(data):
            return None
        raise GroxyError(
            ErrorKind.BAD_REPLY,
            "The upstream sent an event that could not be read.",
            detail=f"{type(error).__name__}: {error}",
        ) from None
    kind = event.type
    if kind is None:
        kind = event.type = name.decode(errors="replace")
    if kind == "error" or is_there(event.error):
        raise EmbeddedError(data)
    return event if kind in _KNOWN else None


def _is_foreign(data: bytes) -> bool:
    """True for an event of a type nobody here knows: it may look as it likes."""
    try:
        kind = _decode_type(data).type
    except UNREADABLE:
        return False
    return kind is not None and kind not in _KNOWN


def read_citation(raw: msgspec.Raw) -> Citation | None:
    """Return a source with an address; None for one without."""
    try:
        citation = _decode_citation(raw)
    except UNREADABLE:
        return None
    return citation if citation.url else None
