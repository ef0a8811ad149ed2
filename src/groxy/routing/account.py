"""An account: our credential at an upstream, and how it does at this moment.

In: what routing learns of it. Out: whether it may serve now, and how well it would. It must not
decide what a failure means (`accounts`), and sends nothing anywhere. Times are unix seconds.
"""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from groxy.core.errors import ErrorKind
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.core.terms import NO_TERMS, Terms
from groxy.routing.meter import Meter
from groxy.routing.pools import Pool
from groxy.state._base import Load
from groxy.upstreams._base import Credentials, RateFacts, Upstream
from groxy.wire.http import Transport

MINUTE_S = 60.0
_NEWEST_WEIGHS = 0.2
"""In a moving average: the last ten replies are nine tenths of it."""
_TELLING_TOKENS = 16
"""Shorter replies tell how long the way is, not how fast the model writes."""
_STREAM_BEGINS_BEFORE = 0.95
_WORST_HEALTH = 0.05
_HEALED_BY = 0.12
_HURT_TO = 0.6
_AS_GOOD_AS_WELL = 0.995
_HALF_FORGOTTEN_S = 15.0
"""Half of what makes an account look ill or slow is forgotten after so long: one that is not asked
while others are idle could never show that it is well again."""
_FORGETS_EVERY_S = 1.0
_WELL = 0.95
_SLOW_S = 5.0
"""An account whose streams begin this much later counts as twice as busy."""
_LEAST_SHARE = 0.02
_NO_LOAD = Load(in_flight=0, minute=0, requests=0, tokens=0)

SOFT = (
    ErrorKind.UPSTREAM_DOWN,
    ErrorKind.UPSTREAM_TIMEOUT,
    ErrorKind.STREAM_BROKEN,
    ErrorKind.BAD_REPLY,
)
"""Failures that may be the network's: the account is asked last for a while, not left out.

No set: to compare with each is three times as fast as the hash of an enum (Python 3.11).
"""


_DECLARED = (
    "name",
    "upstream",
    "pool",
    "credentials",
    "transport",
    "origin",
    "headers",
    "terms",
    "proxy_url",
    "hint",
    "most_in_flight",
)
"""What is laid down of an account, and not learned."""


class Status(Enum):
    """How an account stands."""

    ACTIVE = "active"
    COOLING = "cooling"
    """It rests: until a time, or until a refresh finds credit."""
    EXPIRED = "expired"
    """Its credential was rejected, and a check confirmed it."""
    DISABLED = "disabled"
    """The operator took it out of service."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Until when, and why."""

    until: float
    reason: ErrorKind


@dataclass(slots=True)
class Tally:
    """What was counted of an account here and is not in the store yet."""

    uses: int = 0
    failures: int = 0
    tokens: int = 0
    cost_ticks: int = 0
    last_used: float = 0.0
    last_failed: float = 0.0
    last_error: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Account:
    """One credential at one upstream."""

    id: str
    name: str
    upstream: Upstream
    pool: Pool
    credentials: Credentials
    transport: Transport
    origin: str
    """Where it was declared: settings, environment, store, or built in."""
    headers: dict[str, str]
    terms: Terms = NO_TERMS
    proxy_url: str = field(default="", repr=False)
    hint: str = ""
    """Its credential, masked."""
    most_in_flight: int = 0
    """Requests at once, by its terms or else by the gateway's own bound; 0 is no bound."""
    models: frozenset[str] | None = None
    """The upstream's own list of model ids; None while it is not known."""

    # ------------------------------------------------------- as the store has it, for all processes
    standing: Status = Status.ACTIVE
    standing_reason: str = ""
    standing_since: float = 0.0
    windows: dict[str, QuotaWindow] = field(default_factory=dict)
    """What is left, by the mode of the model asked."""
    declared: frozenset[str] = frozenset()
    """Modes whose window the operator laid down: what upstreams tell does not replace those."""
    checked_at: float = 0.0
    """When the upstream was asked last about key, quota and models."""
    note: str = ""
    """What that brought, in words."""
    cleared_at: float = 0.0
    """When the operator last ended its rests."""

    # ------------------------------------------------------------------------------ at this moment
    in_flight: int = 0
    elsewhere: Load = _NO_LOAD
    """What other processes have on it."""
    failures: int = 0
    """Failed attempts in a row; a crowd that fails together counts as one."""
    is_probed: bool = False
    """True while the first request after a doubt tries whether it is well again."""
    rejections: int = 0
    """How often in a row its credential was rejected although a check found it good."""
    rest_until: float = 0.0
    """Not asked before then; infinite for one that is disabled or expired."""
    rest_reason: ErrorKind | None = None
    model_rests: dict[str, Rest] = field(default_factory=dict)
    """Rests of single models, by the id that is sent."""
    model_limits: dict[str, int] = field(default_factory=dict)
    """Rate limits in a row, by the model that met them."""
    first_event_s: float = 0.0
    """How long its streams take to begin: a moving average; 0 while it is not known."""
    tokens_per_s: float = 0.0
    """How fast its replies come: a moving average; 0 while it is not known."""
    price_ratio: float = 1.0
    """What it bills, as a part of the catalog's price: a moving average."""
    health: float = 1.0
    """1 is well; each failure lowers it, each success raises it."""
    handicap: float = 1.0
    """Health, price, latency and weight in one number; the less the better."""
    is_bounded: bool = False
    """True when it has bounds to look at before it may be chosen."""
    tally: Tally = field(default_factory=Tally)
    _judged_at: float = field(default=0.0, repr=False)
    """Until when health and speed were last forgotten; 0 when they are news."""
    meter: Meter | None = None
    """What was used in the last minute; None where that is not bounded."""

    def __post_init__(self) -> None:
        """Work out what follows from the terms."""
        self.note_terms()

    def become(self, other: "Account") -> None:
        """Take over what is declared of `other`; of the same credential all else stays."""
        is_another = (self.upstream, self.credentials) != (other.upstream, other.credentials)
        for name in _DECLARED:
            setattr(self, name, getattr(other, name))
        kept = {
            mode: own
            for mode, own in self.windows.items()
            if mode not in self.declared | other.declared or _is_alike(own, other.windows.get(mode))
        }
        self.declared = other.declared
        self.windows = other.windows if is_another else {**other.windows, **kept}
        if is_another:
            self.models, self.checked_at, self.note = None, 0.0, ""
            if self.standing in (Status.ACTIVE, Status.COOLING):
                self.stand(Status.ACTIVE, "", self.standing_since)
                self.clear_rests()
        self.note_terms()

    def place(self) -> object:
        """Return what decides which requests it may serve, whatever the moment."""
        terms, own = self.terms, self.credentials
        return (
            self.name,
            self.upstream,
            self.pool,
            own.base_url,
            own.options,
            terms.models,
            terms.priority,
            self.models,
        )

    # -------------------------------------------------------------------------------- how it stands

    def status(self, now: float) -> Status:
        """Return how the account stands."""
        if self.standing is not Status.ACTIVE:
            return self.standing
        return Status.COOLING if now < self.rest_until else Status.ACTIVE

    def is_resting(self, now: float) -> bool:
        """True when it must not be used: rejected, out of quota, disabled, at its rate limit."""
        return now < self.rest_until and self.rest_reason not in SOFT

    def is_doubtful(self, now: float) -> bool:
        """True when it failed a few times in a row, and others should go first."""
        return now < self.rest_until and self.rest_reason in SOFT

    def stand(self, standing: Status, reason: str, since: float) -> None:
        """Take over a lasting status; ACTIVE ends every rest that came of another one."""
        was, self.standing = self.standing, standing
        self.standing_reason, self.standing_since = reason, since
        if standing in (Status.DISABLED, Status.EXPIRED):
            self.rest_until = inf
            self.rest_reason = ErrorKind.UPSTREAM_AUTH if standing is Status.EXPIRED else None
        elif standing is Status.ACTIVE and was is not Status.ACTIVE:
            self.clear_rests()

    def clear_rests(self) -> None:
        """Forget every rest and what led to it."""
        self.failures = self.rejections = 0
        self.is_probed = False
        self.rest_until, self.rest_reason = 0.0, None
        self.model_rests, self.model_limits = {}, {}
        self.health = max(self.health, 0.5)
        self.note_terms()

    # ------------------------------------------------------------------------------------- bounds

    def note_terms(self) -> None:
        """Work out anew what depends on terms, rests and averages."""
        terms = self.terms
        self.is_bounded = bool(
            self.most_in_flight or terms.rpm or terms.tpm or self.windows or self.model_rests
        )
        if (terms.rpm or terms.tpm) and self.meter is None:
            self.meter = Meter()
        slowness = 1.0 + self.first_event_s / _SLOW_S
        self.handicap = self.price_ratio * slowness / (self.health * terms.weight)

    def bound_reached(self, model: str, mode: str, now: float) -> str:
        """Return which bound keeps it from serving now, as a word; empty when none does."""
        busy = self.in_flight + self.elsewhere.in_flight
        if self.most_in_flight and busy >= self.most_in_flight:
            return "in_flight"
        rest = self.model_rests.get(model)
        if rest is not None:
            if now < rest.until:
                return "model_cooling"
            del self.model_rests[model]
        terms = self.terms
        if terms.rpm and self.requests_lately(now) >= terms.rpm:
            return "rpm"
        if terms.tpm and self.tokens_lately(now) >= terms.tpm:
            return "tpm"
        window = self._window(mode, now) if self.windows else None
        return "quota" if window is not None and window.remaining <= 0 else ""

    def free_at(self, model: str, mode: str, now: float) -> float:
        """Return when a bound or rest that stands against it now is over; `now` for unknown."""
        until = max(self.rest_until, now)
        rest = self.model_rests.get(model)
        if rest is not None:
            until = max(until, rest.until)
        window = self.windows.get(mode)
        if window is not None and window.remaining <= 0:
            until = max(until, window.reset_at)
        return until

    def badness(self, mode: str, now: float) -> float:
        """Return how bad a choice it is among others that can serve: the less the better."""
        if now - self._judged_at >= _FORGETS_EVERY_S:
            self._forget(now)
        value = (1 + self.in_flight + self.elsewhere.in_flight) * self.handicap
        if self.windows:
            window = self._window(mode, now)
            if window is not None and window.total > 0:
                value /= max(window.remaining / window.total, _LEAST_SHARE)
        return value

    def _forget(self, now: float) -> None:
        """Forget a part of what was learned of health and speed, by the time that has passed."""
        since, self._judged_at = self._judged_at, now
        if since == 0.0 or (self.health == 1.0 and self.first_event_s == 0.0):
            return
        left = 0.5 ** ((now - since) / _HALF_FORGOTTEN_S)
        self.health = 1.0 - (1.0 - self.health) * left
        if self.health > _WELL:
            self.health = 1.0
        self.first_event_s *= left
        self.note_terms()

    def _window(self, mode: str, now: float) -> QuotaWindow | None:
        """Return the window of a mode, full again if its time is over."""
        window = self.windows.get(mode)
        if window is not None and 0.0 < window.reset_at <= now:
            window.remaining, window.reset_at = window.total, 0.0
            window.source = QuotaSource.ESTIMATED if window.synced_at else QuotaSource.DEFAULT
        return window

    # ------------------------------------------------------------------------------- what is used

    def begin(self, mode: str, tokens: int, now: float) -> None:
        """Count that a request goes out, with about so many tokens to read."""
        self.in_flight += 1
        if self.meter is not None:
            self.meter.add(1, tokens, now)
        window = self._window(mode, now) if self.windows else None
        if window is not None:
            if window.reset_at == 0.0 and window.window_s:
                window.reset_at = now + window.window_s
            # One that nobody knows the end of is not counted down: at 0 it would stay there.
            if window.reset_at:
                window.remaining = max(window.remaining - 1, 0)
                window.source = QuotaSource.ESTIMATED

    def end(self, tokens: int, now: float) -> None:
        """Count that a request ended, and correct its tokens by so many."""
        self.in_flight -= 1
        if self.meter is not None:
            self.meter.add(0, tokens, now)

    def load(self, now: float) -> Load:
        """Return what this process has on it; requests and tokens only where they are bounded."""
        meter = self.meter
        return Load(
            in_flight=self.in_flight,
            minute=0,
            requests=0 if meter is None else meter.requests(now),
            tokens=0 if meter is None else meter.tokens(now),
        )

    def requests_lately(self, now: float) -> int:
        """Return the requests of the last minute, in all processes; 0 where nothing is bounded."""
        meter = self.meter
        return 0 if meter is None else meter.requests(now) + self.elsewhere.requests

    def tokens_lately(self, now: float) -> int:
        """Return the tokens of the last minute, in all processes; 0 where nothing is bounded."""
        meter = self.meter
        return 0 if meter is None else meter.tokens(now) + self.elsewhere.tokens

    # ----------------------------------------------------------------------------- what is learned

    def note_speed(self, *, first_event_s: float, output_tokens: int, duration_s: float) -> None:
        """Take in how fast a reply came, as far as it says anything."""
        # A whole reply has its first event at its end: that is no time to the first event.
        if 0.0 < first_event_s < _STREAM_BEGINS_BEFORE * duration_s:
            self.first_event_s = _averaged(self.first_event_s, first_event_s)
            self._judged_at = 0.0
        if duration_s > 0.0 and output_tokens >= _TELLING_TOKENS:
            self.tokens_per_s = _averaged(self.tokens_per_s, output_tokens / duration_s)

    def note_price(self, billed: int, catalog: int) -> None:
        """Take in what a reply was billed, beside what the catalog says, both in ticks."""
        if billed > 0 and catalog > 0:
            ratio = min(max(billed / catalog, 0.1), 10.0)
            self.price_ratio = _averaged(self.price_ratio, ratio)

    def note_health(self, *, went_well: bool) -> None:
        """Take in that an attempt went well, or that it failed by the account's own fault."""
        if went_well:
            self.health += _HEALED_BY * (1.0 - self.health)
            if self.health > _AS_GOOD_AS_WELL:
                self.health = 1.0
        else:
            self.health = max(self.health * _HURT_TO, _WORST_HEALTH)
            self._judged_at = 0.0
        self.note_terms()

    def note_rates(self, mode: str, rates: RateFacts, now: float) -> None:
        """Take in what a reply's headers say of the requests that are left."""
        told = rates.requests
        if told is None or mode in self.declared:
            return
        reset_s = MINUTE_S if told.reset_s is None else told.reset_s
        self.windows[mode] = QuotaWindow(
            remaining=told.remaining,
            total=max(told.limit, told.remaining),
            window_s=0,
            reset_at=now + max(reset_s, 0.001),
            synced_at=now,
            source=QuotaSource.REAL,
        )
        self.is_bounded = True


def _is_alike(own: QuotaWindow, other: QuotaWindow | None) -> bool:
    """True when what was laid down did not change, so that what was used of it still counts."""
    return other is not None and (own.total, own.window_s) == (other.total, other.window_s)


def _averaged(average: float, newest: float) -> float:
    return average + _NEWEST_WEIGHS * (newest - average) if average else newest
