"""What every dialect offers, and the values it trades in.

A dialect reads a caller's request (as deep as needed), writes what goes upstream, and turns the
upstream's reply into the caller's bytes while it keeps a `Tally` for the books.

Two lanes. The same dialect on both sides: bytes are relayed and only mended (`outgoing`, `relay`,
`read_whole`). Different dialects: the caller's end reads a canonical `Request` and writes events
(`canonical`, `encoder`), the upstream's end writes the request and reads events (`encode_request`,
`decoder`); `_translation` stands between the two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Protocol

import msgspec

from groxy.core.errors import GroxyError
from groxy.core.events import Event
from groxy.core.preferences import NONE, Preferences
from groxy.core.request import Request
from groxy.core.usage import Usage
from groxy.wire.json import Fields


class ThoughtsShown(Enum):
    """How much of the model's thoughts a caller wants to see."""

    ALL = "all"
    SEALED = "sealed"
    """That there were some, and their seal; not what they say."""
    NONE = "none"
    """Nothing: their seals are kept by the gateway, where it writes the reply itself."""


class Asked(msgspec.Struct, kw_only=True):
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
    carriers: tuple[str, ...] = ()
    """Dialects that can carry this very request, best first; () for the dialect's usual ones."""
    conversation: str = ""
    """What stays the same from turn to turn, see `conversation_key`; empty when nothing does."""
    tool_names: frozenset[str] = frozenset()
    """The functions offered; a call of another one is flagged."""
    keeps: bool = False
    """True when the reply is to be kept for its caller (Responses' `store`)."""
    continues: str = ""
    """The id of the kept reply that this request goes on from (`previous_response_id`)."""
    may_name_files: bool = True
    """False when it certainly names no file that is kept here."""
    is_deferred: bool = False
    """True when the caller will fetch the answer later (xAI's `deferred`)."""
    fallbacks: tuple[str, ...] = ()
    """Models to try when `model` fails, in order (OpenRouter's `models`)."""
    preferences: Preferences = NONE
    thoughts_shown: ThoughtsShown = ThoughtsShown.ALL
    wants_cost: bool = False
    """True when usage is to tell what it cost (OpenRouter's `usage.include`)."""
    max_cost_ticks: int | None = None
    """The most that the caller wants to pay; it said so in `max_cost`, which `fields` has not."""
    decoded: tuple[Fields, object] | None = None
    """The fields that were decoded all the way, and into what: of use while `fields` is that very
    object. Let go of when the request has been let pass, for it is as large as the body."""


class OutputBound(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the cost of a reply, as its request says it."""

    choices: int = 1
    """How many answers are made, each as long as `max_tokens` lets it."""
    max_tokens: int | None = None
    """Tokens of one choice at most; None when the caller named no number."""
    server_tools: int = 0
    """Tools on offer that the upstream runs itself, such as a search; each call may cost."""


_OPENING_CHARS = 4096
OWN_SUMMARY = "groxy-"
"""How the gateway's own sealed summaries begin, see `Stateful`."""


def conversation_key(explicit: str | None, *opening: str) -> str:
    """Return what identifies a conversation over its turns, unreadable for upstreams.

    `explicit` is the caller's own word for it (prompt_cache_key, session id, metadata.user_id);
    without one it is the opening: the system text and the first user message.
    """
    seed = explicit or "\0".join(piece[:_OPENING_CHARS] for piece in opening)
    if not seed:
        return ""
    return blake2b(seed.encode(errors="replace"), digest_size=16).hexdigest()


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


class Counting(Enum):
    """How usage is told to callers of OpenAI's dialects."""

    OPENAI = "openai"
    """Reasoning is inside output tokens."""
    XAI = "xai"
    """Reasoning stands beside output tokens, as xAI's own API tells it."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply needs beside its events."""

    reply_id: str
    """An id without prefix, for dialects that name replies themselves."""
    created: int
    """Unix seconds."""
    count_input: Callable[[], int]
    """Estimates the request's tokens, for replies that tell them before the upstream does."""
    counting: Counting = Counting.OPENAI


class Tally(msgspec.Struct):
    """What is known of a reply so far; filled by a relay, read by the books."""

    reply_id: str = ""
    model_served: str = ""
    finish_reason: str = ""
    has_output: bool = False
    output: list[str] = msgspec.field(default_factory=list)
    """The text produced, for counting when the upstream reports no usage."""
    called: list[str] = msgspec.field(default_factory=list)
    """Names of the tools called."""
    call_ids: list[str] = msgspec.field(default_factory=list)
    sealed: list[str] = msgspec.field(default_factory=list)
    """Sealed thoughts, in order: what a later turn of a tool loop must send back."""


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
    def record(self) -> bytes:
        """After `finish`: the reply as its dialect keeps it; empty in dialects that keep none."""
        ...

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

    def cut(self) -> bytes:
        """End the reply here, between two feeds: its budget is used up, what was sent stands.

        Only `finish`, or `fail`, may follow. Returns what has to leave before it. The reply is then
        complete and ended for its length; one that had come to its own end keeps that.
        """
        ...

    def fail(self, error: GroxyError) -> bytes:
        """Return the last bytes of a stream that broke off after it had begun."""
        ...


class WholeReply(Protocol):
    """A whole reply, read but not yet written for the caller."""

    tally: Tally

    @property
    def record(self) -> bytes:
        """After `encode`: the reply as its dialect keeps it; empty in dialects that keep none."""
        ...

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        ...

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        ...


class ReplyDecoder(Protocol):
    """The upstream's end of a reply: its bytes, in any portions, become events.

    Events come in the order of `core.events`. Like a relay it never raises on what an upstream
    sends; what came before a failure is still returned.
    """

    failure: Exception | None
    """An `EmbeddedError` or a `GroxyError` once the reply broke."""

    @property
    def is_complete(self) -> bool:
        """True once the reply came to its proper end."""
        ...

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        ...

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes."""
        ...

    def feed_whole(self, body: bytes) -> list[Event]:
        """Return the events of a whole reply."""
        ...

    def close(self) -> list[Event]:
        """Return the events that the end of the stream completes."""
        ...


class ReplyEncoder(Protocol):
    """The caller's end of a reply: events become the caller's bytes.

    It is used either for one stream (`feed`…, then `finish` or `fail`) or for one `whole`.
    `UsageReported` is held back: the usage to write comes with `finish`. `Finished` may be too.
    """

    @property
    def record(self) -> bytes:
        """After `finish` or `whole`: the reply as its dialect keeps it; empty when none is."""
        ...

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event; empty when this dialect has none for it."""
        ...

    def finish(self, usage: Usage) -> bytes:
        """Return the end of a stream that went well."""
        ...

    def fail(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off."""
        ...

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """Return the whole reply that `events` make."""
        ...


class Dialect(Protocol):
    """One wire protocol in which a caller may ask and an upstream may be asked."""

    name: str
    upstream_path: str
    """The path below an upstream's base URL."""
    keepalive: bytes
    """What breaks the silence on a stream."""
    carries_sealed: bool
    """True when sealed thoughts travel in it, out and back, for who wants to see thoughts; else the
    gateway keeps them."""

    @property
    def carriers(self) -> tuple[str, ...]:
        """Dialects in which an upstream may be asked for it, best first, its own included."""
        ...

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        ...

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request, for counting when the upstream reports no usage."""
        ...

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return what bounds the output, on whichever lane the request travels."""
        ...

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the same request with at most so many tokens for each choice, never more.

        `asked` itself stays as it is.
        """
        ...

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream of the same dialect, as fields that may be changed."""
        ...

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> StreamRelay:
        """Return a relay for one streamed reply of the same dialect."""
        ...

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> WholeReply:
        """Read a whole reply of the same dialect.

        Raises `EmbeddedError` for an error, BAD_REPLY for nonsense.
        """
        ...

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        ...

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off before any event of its reply had left."""
        ...


class CallersEnd(Dialect, Protocol):
    """A dialect whose requests other dialects can carry: it names them in `carriers`."""

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way."""
        ...

    def encoder(self, asked: Asked, frame: Frame) -> ReplyEncoder:
        """Return what writes one reply to the caller."""
        ...


class Stateful(CallersEnd, Protocol):
    """A dialect whose replies can be kept, and gone on from: `Asked.keeps` and `.continues`."""

    def summaries(self, asked: Asked) -> list[str]:
        """Return the sealed summaries of ours that a request holds in place of older turns."""
        ...

    def continued(self, asked: Asked, earlier: Sequence[bytes], opened: Mapping[str, str]) -> Asked:
        """Return a request with its whole history in it.

        `earlier` are the kept replies that it goes on from, oldest first, as `remembered` wrote
        them; `opened` has the text of each sealed summary.
        """
        ...

    def remembered(self, asked: Asked, record: bytes) -> tuple[str, bytes]:
        """Return the reply's id, and what is to be kept of it and of its request as asked."""
        ...


class UpstreamsEnd(Protocol):
    """A dialect that can carry requests of others."""

    name: str
    upstream_path: str
    carries_sealed: bool
    """True when it takes sealed thoughts back."""

    def encode_request(
        self, request: Request, *, model: str, effort: str | None, stream: bool
    ) -> tuple[Fields, list[str]]:
        """Return the body for an upstream, and a word for each thing that it cannot say.

        The words go into `x-groxy-adjusted`, such as `top_k dropped`. Raises UNSUPPORTED, naming
        the field, for what would be a lie to leave out. Stop texts are not sent: `_translation`
        cuts at them, so that it is known which one it was. The same request always gives the same
        bytes, for the sake of upstreams' prompt caches.
        """
        ...

    def decoder(self, rules: UsageRules) -> ReplyDecoder:
        """Return what reads one reply of an upstream."""
        ...
