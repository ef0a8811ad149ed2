"""What is read of an upstream's events and replies, by the relay and by the decoder alike.

In: the data of one event, or a whole body. Out: as much of it as is needed, or `EmbeddedError` for
an error in its place, BAD_REPLY for nonsense. xAI words errors as `{"code","error":"…"}`, OpenAI as
`{"error":{…}}` or, inside a stream, with message and code at the top.
"""

from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.dialects.responses.errors import embedded
from groxy.wire.json import UNREADABLE, decode_any

TERMINAL = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
}
"""The events that end a reply, and the status they leave it in."""
FAILURES = frozenset({"response.failed", "response.error", "error"})
LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress", *TERMINAL})
"""The events that carry the whole reply object."""
_UNEXPLAINED = "The upstream's reply failed."
_NOTHING = (b"", b"null", b"{}", b"[]", b'""', b"false")


class Event(msgspec.Struct):
    """One event; what may be of any shape is read later, if at all."""

    type: str = ""
    sequence_number: Any = None
    output_index: Any = None
    item_id: Any = None
    content_index: Any = None
    summary_index: Any = None
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    response: Raw = Raw(b"")
    item: Raw = Raw(b"")
    part: Raw = Raw(b"")
    annotation: Raw = Raw(b"")
    error: Raw = Raw(b"")
    has_type: Any = True
    """False when only the `event:` line said what it is. Always set after reading."""

    @property
    def place(self) -> object:
        """What tells the item that it belongs to: its index, else its id."""
        if isinstance(self.output_index, int):
            return self.output_index
        return self.item_id if isinstance(self.item_id, str) else None

    @property
    def fragment(self) -> str:
        """The text of a delta."""
        return self.delta if isinstance(self.delta, str) else ""


class Incomplete(msgspec.Struct):
    """Why a reply is incomplete."""

    reason: Any = None


class Reply(msgspec.Struct):
    """A reply object."""

    id: str | None = None
    model: str | None = None
    created_at: int | float | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: Raw = Raw(b"")
    error: Raw = Raw(b"")
    incomplete_details: Incomplete | None = None

    @property
    def is_incomplete(self) -> bool:
        """True when it was cut short."""
        return self.status == "incomplete"

    @property
    def is_filtered(self) -> bool:
        """True when it was cut short for what it said."""
        details = self.incomplete_details
        return details is not None and details.reason == "content_filter"


class Part(msgspec.Struct):
    """A piece of an output item."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: list[Raw] | None = None

    @property
    def said(self) -> str:
        """Its text, whatever it is called."""
        return self.text or self.refusal or ""


class OutputItem(msgspec.Struct):
    """An output item."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    encrypted_content: str | None = None
    summary: list[Part] | None = None
    content: list[Part] | None = None

    @property
    def thoughts(self) -> str:
        """The text of thoughts."""
        parts = self.summary or self.content or ()
        return "\n\n".join(part.said for part in parts if part.said)

    @property
    def said(self) -> str:
        """The text of a message."""
        return "".join(part.said for part in self.content or ())


class _Error(msgspec.Struct):
    code: Any = None
    message: Any = None
    param: Any = None


_event_decoder = msgspec.json.Decoder(Event)
_reply_decoder = msgspec.json.Decoder(Reply)
_item_decoder = msgspec.json.Decoder(OutputItem)
_error_decoder = msgspec.json.Decoder(_Error)


def read_event(name: bytes, data: bytes) -> Event:
    """Read one event; raise what it means when it is an error."""
    try:
        event = _event_decoder.decode(data)
    except UNREADABLE as error:
        raise garbage(error) from None
    event.has_type = bool(event.type)
    if not event.has_type:
        event.type = name.decode(errors="replace")
    if event.type in FAILURES or (bytes(event.error) not in _NOTHING and not event.type):
        raise EmbeddedError(_payload_of(event, data))
    if event.type in ("response.cancelled", "response.canceled"):
        message = "The upstream cancelled its reply. Try again."
        raise GroxyError(ErrorKind.STREAM_BROKEN, message)
    return event


def _payload_of(event: Event, data: bytes) -> bytes:
    if bytes(event.response) not in _NOTHING:
        reply = read_reply(event.response)
        return _flat(reply.error) if bytes(reply.error) not in _NOTHING else _unexplained()
    if bytes(event.error) not in _NOTHING:
        return data if bytes(event.error).lstrip()[:1] in (b"{", b'"') else _unexplained()
    return _flat(Raw(data))


def _flat(raw: Raw) -> bytes:
    try:
        error = _error_decoder.decode(raw)
    except UNREADABLE:
        text = _decoded(raw)
        return embedded(text, "") if isinstance(text, str) else _unexplained()
    return embedded(error.message or _UNEXPLAINED, error.code, error.param)


def _unexplained() -> bytes:
    return embedded(_UNEXPLAINED, "server_error")


def _decoded(raw: Raw) -> object:
    try:
        return decode_any(raw)
    except UNREADABLE:
        return None


def read_reply(raw: Raw) -> Reply:
    """Read a reply object; an empty one when it cannot be read."""
    try:
        return _reply_decoder.decode(raw)
    except UNREADABLE:
        return Reply()


def read_item(raw: Raw) -> OutputItem:
    """Read an output item; an empty one when it cannot be read."""
    try:
        return _item_decoder.decode(raw)
    except UNREADABLE:
        return OutputItem()


def read_body(body: bytes) -> tuple[Reply, dict[str, Any]]:
    """Read a whole reply, for what is needed and all the way; raise what it means if it is none."""
    try:
        reply, fields = _reply_decoder.decode(body), decode_any(body)
    except UNREADABLE as error:
        fields = _decoded(Raw(body))
        if isinstance(fields, dict) and fields.get("error"):
            raise EmbeddedError(body) from None
        raise garbage(error) from None
    has_error = bytes(reply.error) not in _NOTHING
    if reply.status == "failed" or (has_error and reply.status is not None):
        raise EmbeddedError(_flat(reply.error) if has_error else _unexplained())
    if has_error:
        raise EmbeddedError(body)
    if reply.output is None or reply.status in ("queued", "in_progress", "cancelled"):
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream sent a reply without an answer.")
    return reply, fields


def garbage(error: Exception) -> GroxyError:
    """Return the error for what cannot be read."""
    return GroxyError(
        ErrorKind.BAD_REPLY,
        "The upstream sent a reply that could not be read.",
        detail=f"{type(error).__name__}: {error}",
    )
