"""What a gateway works with: its parts and the settings of attempts, handed in by `app`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from groxy.core.tokens import TokenCounter
from groxy.dialects._base import Asked, Counting, Dialect, UpstreamsEnd
from groxy.gateway.calls import OpenCalls
from groxy.gateway.hedging import Hedger
from groxy.gateway.lanes import Fetch
from groxy.gateway.memory import Memory
from groxy.gateway.recording import Recording
from groxy.gateway.rotation import Rotation
from groxy.gateway.vigil import Deadlines
from groxy.ledger.journal import Journal
from groxy.ledger.prices import PriceBook
from groxy.observe.logs import Logger, get_logger
from groxy.observe.metrics import Metrics
from groxy.policy.admission import Admission
from groxy.policy.keys import Caller
from groxy.routing.accounts import Directory
from groxy.routing.router import Router


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as `api` hands it in: who asks what, in which dialect."""

    request_id: str
    dialect: Dialect
    caller: Caller
    body: bytes
    asked: Asked | None = None
    """The body as the dialect reads it; None while nobody has, or where nobody can."""
    conversation: str = ""
    """The caller's own word for the conversation, from a header."""
    app_title: str = ""
    app_url: str = ""
    """The application that asks, as it says itself (OpenRouter's X-Title and HTTP-Referer)."""
    prefer_tags: tuple[str, ...] = ()
    """Tags of accounts that are to serve first, from a header."""
    recording: Recording | None = None
    """What its reply is recorded in, if it can be sent again; see `replays`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings of attempts and streams."""

    deadlines: Deadlines
    streams_by_default: bool
    logs_requests: bool
    counting: Counting = Counting.OPENAI
    rotation: Rotation = field(default_factory=Rotation)
    capacity_wait_s: float = 0.0
    """How long a request waits for an account to become free."""
    default_output_tokens: int = 32_000
    """What is held for a reply whose caller names no bound."""


@dataclass(slots=True, kw_only=True)
class Means:
    """See the module."""

    router: Router
    directory: Directory
    journal: Journal
    metrics: Metrics
    counter: TokenCounter
    prices: PriceBook
    admission: Admission
    limits: Limits
    ends: Mapping[str, UpstreamsEnd]
    """The dialects that upstreams are asked in on behalf of others, by name."""
    memory: Memory
    fetch: Fetch
    hedger: Hedger = field(default_factory=Hedger)
    open_calls: OpenCalls = field(default_factory=OpenCalls)
    log: Logger = field(default_factory=lambda: get_logger("gateway"))
