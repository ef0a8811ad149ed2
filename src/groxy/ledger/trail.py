"""What happened to one request: its attempts as they end, then the entries for the books.

A request's cost is that of the attempt that served it, also when the caller left half-way, and
nothing when it failed: what its caller pays (`bill`) follows from it. What failed attempts cost is
in their own entries, at the operator's expense.
"""

import functools
import time

import msgspec

from groxy.core.usage import Usage
from groxy.ledger.costs import UNPRICED
from groxy.store.entries import AttemptEntry, RequestEntry

OK = "ok"
NOTHING = Usage()
_MAX_NAME = 256
_MAX_REPLY_ID = 128
_MAX_APP_TITLE = 128
_MAX_APP_URL = 256
_MAX_FINISH_REASON = 32
_MAX_DIALECT = 16
_MAX_ROUTE = 16_384
_encoder = msgspec.json.Encoder()


def now_ms() -> int:
    """Return the time that entries carry: unix milliseconds."""
    return time.time_ns() // 1_000_000


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt while it runs, and what became of it."""

    number: int
    upstream: str
    account_id: str
    model_sent: str
    at_ms: int = msgspec.field(default_factory=now_ms)
    began: float = msgspec.field(default_factory=time.perf_counter)
    first_event: float = 0.0
    ended: float = 0.0
    outcome: str = ""
    was_sent: bool = False
    """True once the upstream can have read any of it."""
    status: int = 0
    model_served: str = ""
    usage: Usage = NOTHING
    cost_ticks: int = 0
    cost_source: str = UNPRICED
    list_ticks: int = 0
    """What the price list says that it costs."""

    def note_sent(self) -> None:
        """Note that the request goes out."""
        self.was_sent = True

    def entry(self, request_id: str) -> AttemptEntry:
        """Return the attempt's line in the books."""
        usage = self.usage
        return AttemptEntry(
            request_id,
            self.number,
            self.at_ms,
            self.upstream,
            self.account_id,
            _known(self.model_sent[:_MAX_NAME]),
            _known(self.model_served[:_MAX_NAME]),
            self.outcome,
            self.status,
            usage.input_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            usage.estimated,
            self.cost_ticks,
            self.cost_source,
            _micros(self.first_event - self.began) if self.first_event else 0,
            _micros(self.ended - self.began),
            self.list_ticks,
        )


class RouteCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """An account that was to be asked."""

    account: str
    model: str
    dialect: str
    score: float
    """Among others: the less the better; 0 where there was nothing to compare."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How it was chosen who is asked."""

    strategy: str
    of: int
    """How many accounts could serve, if they were all well."""
    home: str
    """The account that came first because it had served the conversation before."""
    candidates: list[RouteCandidate]
    passed: list[tuple[str, str]]
    """Accounts that were looked at and could not serve then, and why."""


class Trail(msgspec.Struct, kw_only=True):
    """One request while it runs."""

    request_id: str
    key_id: str
    dialect: str
    at_ms: int = msgspec.field(default_factory=now_ms)
    began: float = msgspec.field(default_factory=time.perf_counter)
    is_stream: bool = False
    model_asked: str = ""
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    reply_id: str = ""
    """The id of the reply as the caller sees it."""
    app_title: str = ""
    app_url: str = ""
    """What the caller's application says of itself, in its headers."""
    finish_reason: str = ""
    upstream_dialect: str = ""
    """The dialect in which the serving account is asked."""
    route: Route | None = None
    serving: Attempt | None = None
    """Of several attempts at once the one that serves."""
    held_ticks: int = 0
    """The most that was held for it."""
    price_version: str = ""
    is_cut: bool = False
    """True when its stream was ended because what was held for it was used up."""
    request_sha256: bytes | None = None
    reply_sha256: bytes | None = None

    @property
    def last(self) -> Attempt | None:
        """The attempt that serves, or the newest."""
        return self.serving or (self.attempts[-1] if self.attempts else None)

    def begin_attempt(self, *, upstream: str, account_id: str, model_sent: str) -> Attempt:
        """Note that an attempt begins."""
        attempt = Attempt(
            number=len(self.attempts) + 1,
            upstream=upstream,
            account_id=account_id,
            model_sent=model_sent,
        )
        self.attempts.append(attempt)
        return attempt

    def entries(
        self,
        *,
        outcome: str,
        status: int,
        is_owed: bool,
        user_id: str = "",
        charge_ticks: int = 0,
    ) -> tuple[RequestEntry, list[AttemptEntry]]:
        """Return the lines for the books, now that the request has ended and is charged for."""
        last = self.last
        usage = last.usage if last and is_owed else NOTHING
        first_event = last.first_event if last else 0.0
        entry = RequestEntry(
            self.request_id,
            self.at_ms,
            self.key_id,
            self.dialect,
            self.is_stream,
            _known(self.model_asked[:_MAX_NAME]),
            _known(last.model_sent[:_MAX_NAME]) if last else "",
            _known(last.model_served[:_MAX_NAME]) if last else "",
            last.account_id if last else "",
            outcome,
            status,
            len(self.attempts),
            usage.input_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            usage.estimated,
            last.cost_ticks if last and is_owed else 0,
            _micros(first_event - self.began) if first_event else 0,
            _micros(time.perf_counter() - self.began),
            _bounded(self.reply_id, _MAX_REPLY_ID),
            _bounded(self.app_title, _MAX_APP_TITLE),
            _bounded(self.app_url, _MAX_APP_URL),
            _bounded(self.finish_reason, _MAX_FINISH_REASON),
            _bounded(self.upstream_dialect, _MAX_DIALECT),
            _bounded(_encoded(self.route), _MAX_ROUTE),
            user_id,
            charge_ticks,
            self.held_ticks,
            self.price_version,
            self.is_cut,
            self.request_sha256,
            self.reply_sha256,
        )
        return entry, [attempt.entry(self.request_id) for attempt in self.attempts]


def _encoded(route: Route | None) -> str:
    return "" if route is None else _encoder.encode(route).decode()


@functools.lru_cache(maxsize=1024)
def _known(name: str) -> str:
    """Return the name of a model, or another one that comes again and again, as `_bounded` does."""
    return _bounded(name)


def _bounded(name: str, length: int = _MAX_NAME) -> str:
    """Return a name as the books can hold it: callers and upstreams choose it freely.

    PostgreSQL takes no NUL and no driver half a character, and one line that is refused would take
    its whole group with it.
    """
    if len(name) <= length and name.isascii() and name.isprintable():
        return name  # nearly always
    name = name[:length].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return name if name.isascii() else name.encode(errors="replace").decode()


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
