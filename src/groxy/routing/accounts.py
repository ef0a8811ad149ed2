"""Accounts: our credentials at upstreams, how each of them does, and when one has to rest.

In: what happened to each attempt. Out: which accounts may serve. A failure that is the caller's
never counts against an account. Must not send anything anywhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from groxy.core.errors import ErrorKind, Fault, GroxyError
from groxy.routing.pools import Pool
from groxy.state._base import CoolDown
from groxy.upstreams._base import Credentials, Upstream
from groxy.wire.http import Transport

_AUTH_REST_S = 300.0
_QUOTA_REST_S = 900.0
_LIMIT_REST_S = 1.0
_LIMIT_REST_MAX_S = 60.0
_ASKED_REST_MAX_S = 3600.0
"""An upstream says itself how long to stay away; a wrong header must not lose us the account."""
_DOWN_REST_S = 5.0
_DOWN_AFTER_FAILURES = 3
"""A single broken connection says little; so many in a row say the upstream is down."""
_NEWEST_WEIGHS = 0.2
"""In a moving average: the last ten replies are nine tenths of it."""
_TELLING_TOKENS = 16
"""Shorter replies tell how long the way is, not how fast the model writes."""
_STREAM_BEGINS_BEFORE = 0.95


class AccountState(Enum):
    """How an account stands."""

    ACTIVE = "active"
    COOLING = "cooling"
    EXPIRED = "expired"
    """Its credential was rejected; it is tried again after a while."""


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
    models: frozenset[str] | None = None
    """The upstream's own list of model ids; None while it is not known."""
    in_flight: int = 0
    failures: int = 0
    """Failed attempts in a row."""
    rest_until: float = 0.0
    rest_reason: ErrorKind | None = field(default=None)
    first_event_s: float = 0.0
    """How long its streams take to begin: a moving average; 0 while it is not known."""
    tokens_per_s: float = 0.0
    """How fast its replies come: a moving average; 0 while it is not known."""

    def is_resting(self, now: float) -> bool:
        """True when it must not be used: rejected, out of quota, or at its rate limit."""
        return now < self.rest_until and self.rest_reason not in _SOFT

    def is_doubtful(self, now: float) -> bool:
        """True when it failed a few times in a row, and others should go first."""
        return now < self.rest_until and self.rest_reason in _SOFT

    def note_speed(self, *, first_event_s: float, output_tokens: int, duration_s: float) -> None:
        """Take in how fast a reply came, as far as it says anything."""
        # A whole reply has its first event at its end: that is no time to the first event.
        if 0.0 < first_event_s < _STREAM_BEGINS_BEFORE * duration_s:
            self.first_event_s = _averaged(self.first_event_s, first_event_s)
        if duration_s > 0.0 and output_tokens >= _TELLING_TOKENS:
            self.tokens_per_s = _averaged(self.tokens_per_s, output_tokens / duration_s)

    def state(self, now: float) -> AccountState:
        """Return how the account stands."""
        if now >= self.rest_until:
            return AccountState.ACTIVE
        if self.rest_reason is ErrorKind.UPSTREAM_AUTH:
            return AccountState.EXPIRED
        return AccountState.COOLING


_SOFT = frozenset(
    {
        ErrorKind.UPSTREAM_DOWN,
        ErrorKind.UPSTREAM_TIMEOUT,
        ErrorKind.STREAM_BROKEN,
        ErrorKind.BAD_REPLY,
    }
)
_KINDS = {kind.value: kind for kind in ErrorKind}


class Directory:
    """All accounts of this process. `generation` grows when the accounts or their lists change."""

    def __init__(self, clock: Callable[[], float] = lambda: time.time_ns() / 1e9) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._lists: dict[frozenset[str], frozenset[str]] = {}
        """Each model list once: most accounts of an upstream have the same one."""
        self.generation = 0
        self.unshared: list[tuple[str, CoolDown | None]] = []
        """Rests begun (or, with None, ended) here that other processes do not know of yet."""

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self._accounts)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Every account."""
        return tuple(self._accounts.values())

    def now(self) -> float:
        """Return the time that rests are measured in: unix seconds."""
        return self._clock()

    def replace(self, accounts: Iterable[Account]) -> list[Account]:
        """Make `accounts` the only ones; return those that are gone, for closing."""
        wanted = {account.id: account for account in accounts}
        gone = [account for key, account in self._accounts.items() if key not in wanted]
        # An account that stays keeps its state and its open connections.
        self._accounts = {key: self._accounts.get(key, account) for key, account in wanted.items()}
        self._lists = {}
        for account in self._accounts.values():
            account.models = self._shared(account.models)
        self.generation += 1
        return gone

    def set_models(self, account: Account, models: frozenset[str] | None) -> None:
        """Take an upstream's own model list."""
        if account.models != models:
            account.models = self._shared(models)
            self.generation += 1

    def _shared(self, models: frozenset[str] | None) -> frozenset[str] | None:
        """Return the list that other accounts have already, where it is the same."""
        if models is None:
            return None
        if len(self._lists) > 2 * len(self._accounts):  # old ones that no account has any more
            self._lists = {}
        return self._lists.setdefault(models, models)

    def note_success(self, account: Account) -> None:
        """An attempt went well: whatever was held against the account is forgotten."""
        if account.rest_reason is None:
            account.failures = 0
            return
        if account.rest_reason is ErrorKind.UPSTREAM_LIMITED and account.is_resting(self.now()):
            return  # It was sent before the limit was reached; the limit stands.
        account.failures = 0
        account.rest_until, account.rest_reason = 0.0, None
        self._tell(account.id, None)

    def note_failure(self, account: Account, error: GroxyError) -> None:
        """An attempt failed: let the account rest if that was its fault or its upstream's."""
        if error.facts.fault not in (Fault.ACCOUNT, Fault.UPSTREAM):
            return
        if not account.upstream.accounts_rest:
            return
        now = self.now()
        # What was sent before a rest began may fail during it: that is not one failure more, and
        # can only make the rest longer.
        is_late = account.is_resting(now)
        if is_late and error.kind in _SOFT:
            return
        if not is_late:
            account.failures += 1
        until = now + _rest_s(error, account.failures)
        if until > (account.rest_until if is_late else now):
            account.rest_until, account.rest_reason = until, error.kind
            self._tell(account.id, CoolDown(until=until, reason=error.kind.value))

    def _tell(self, account_id: str, rest: CoolDown | None) -> None:
        """Note news for other processes, in place of older news of the same account."""
        # The first may be on its way right now, so it stays as it is.
        for index in range(1, len(self.unshared)):
            if self.unshared[index][0] == account_id:
                self.unshared[index] = (account_id, rest)
                return
        self.unshared.append((account_id, rest))

    def take_shared(self, resting: dict[str, CoolDown]) -> None:
        """Take over what other processes learned about accounts."""
        news_of_ours = {account_id for account_id, _ in self.unshared}
        for account in self._accounts.values():
            if account.id in news_of_ours:
                continue  # What happened here meanwhile is newer.
            rest = resting.get(account.id)
            if rest is None:
                account.rest_until, account.rest_reason = 0.0, None
            else:
                account.rest_until = rest.until
                # A reason that only a newer Groxy knows makes the account doubtful.
                account.rest_reason = _KINDS.get(rest.reason, ErrorKind.UPSTREAM_DOWN)

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Count accounts by upstream, pool and state; a state that none has counts 0."""
        now = self.now()
        counts: Counter[tuple[str, str, str]] = Counter()
        for account in self._accounts.values():
            own = account.state(now)
            for state in AccountState:
                counts[account.upstream.name, account.pool.value, state.value] += state is own
        return counts


def _averaged(average: float, newest: float) -> float:
    return average + _NEWEST_WEIGHS * (newest - average) if average else newest


def _rest_s(error: GroxyError, failures: int) -> float:
    """Return how long an account rests after this error, its `failures`th in a row."""
    asked = min(error.retry_after_s or 0.0, _ASKED_REST_MAX_S)
    if error.kind is ErrorKind.UPSTREAM_AUTH:
        return _AUTH_REST_S
    if error.kind is ErrorKind.UPSTREAM_QUOTA:
        return _QUOTA_REST_S
    if error.kind is ErrorKind.UPSTREAM_LIMITED:
        return asked or min(_LIMIT_REST_S * 2 ** min(failures - 1, 10), _LIMIT_REST_MAX_S)
    return (asked or _DOWN_REST_S) if failures >= _DOWN_AFTER_FAILURES else 0.0
