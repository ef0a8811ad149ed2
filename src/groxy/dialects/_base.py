"""What every dialect offers, and the values it trades in.

A dialect reads a caller's request (as deep as needed), writes what goes upstream, and turns the
upstream's reply into the caller's bytes while it keeps a `Tally` for the books. With the same
dialect on both sides bytes are relayed and only mended; across dialects the same protocols are
filled by a decoder and an encoder around `core.events`.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from groxy.core.errors import GroxyError
from groxy.core.request import Request
from groxy.core.usage import Usage
from groxy.wire.json import Fields


@dataclass(slots=True, kw_only=True)
class Asked:
    """A caller's request, checked, and decoded one level deep."""

    model: str
    stream: bool | None
    """None when the caller left it out: the setting `features.stream` decides."""
    fields: Fields
    """The whole body; what the gateway does not know survives here."""
    wants_usage: bool = False
    """True when a streaming caller asked for a usage event."""
    requires: frozenset[str] = frozenset()
    """Abilities the answer needs: "image", "tools", "schema"."""


class BillField(Enum):
    """Which field of its usage an upstream states its own bill in."""

    NONE = ""
    TICKS = "cost_in_usd_ticks"
    USD = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRules:
    """How an upstream counts."""

    bill: BillField = BillField.NONE
    reasoning_apart: bool = False
    """True when output tokens leave reasoning tokens out, and the reply does not tell otherwise."""


@dataclass(slots=True)
class Tally:
    """What is known of a reply so far; filled by a relay, read by the books."""

    reply_id: str = ""
    model_served: str = ""
    finish_reason: str = ""
    has_output: bool = False
    output: list[str] = field(default_factory=list)
    """The text produced, for counting when the upstream reports no usage."""


class EmbeddedError(Exception):
    """The upstream put an error where a reply belongs; `payload` is its JSON as it came."""

    def __init__(self, payload: bytes) -> None:
        super().__init__("an error in place of a reply")
        self.payload = payload


class StreamRelay(Protocol):
    """Turns an upstream's stream into the caller's, in any portions it arrives in.

    It never raises on what an upstream sends: `failure` is set, and what came before the failure
    is still returned.
    """

    tally: Tally
    failure: Exception | None
    """An `EmbeddedError` or a `GroxyError` once the reply broke; nothing after it counts."""

    @property
    def is_complete(self) -> bool:
        """True once the reply came to its proper end."""
        ...

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        ...

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole, though a stream was asked for, as a stream."""
        ...

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        ...

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported so far, if any makes sense."""
        ...

    def finish(self, usage: Usage) -> bytes:
        """Return the stream's last bytes, with `usage` where the caller asked for it."""
        ...


class WholeReply(Protocol):
    """A whole reply, read but not yet written for the caller."""

    tally: Tally

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        ...

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        ...


class Dialect(Protocol):
    """One wire protocol."""

    name: str
    upstream_path: str
    """The path below an upstream's base URL."""

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        ...

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way."""
        ...

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream of the same dialect, as fields that may be changed."""
        ...

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request, for counting when the upstream reports no usage."""
        ...

    def relay(self, asked: Asked, rules: UsageRules) -> StreamRelay:
        """Return a relay for one streamed reply."""
        ...

    def read_whole(self, body: bytes, rules: UsageRules) -> WholeReply:
        """Read a whole reply; raise `EmbeddedError` for an error, BAD_REPLY for nonsense."""
        ...

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        ...

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off."""
        ...
