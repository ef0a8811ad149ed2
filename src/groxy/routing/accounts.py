"""All accounts of this process, and what a success or a failure does to the one that had it.

In: what happened to each attempt, and what other processes learned. Out: which accounts there are,
and news of rests for the others. A failure that is the caller's never counts against an account.
Must not send anything anywhere: what has to be checked is noted for `overseer`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from heapq import nsmallest

from groxy.core.errors import ErrorKind, Fault, GroxyError
from groxy.routing.account import SOFT, Account, Rest, Status
from groxy.routing.cooling import CoolingRules
from groxy.state._base import CoolDown, Load, add_loads

_KINDS = {kind.value: kind for kind in ErrorKind}
_MANY = 256
"""Accounts from which on finding out anew who can serve what is put off."""
_WOKEN_BY_ONE = 8
"""Who are woken when one request ends: it serves one, and all look again by themselves anyway."""
_BETWEEN = "\n"
"""Between account and model in the name of a shared rest; in neither of them."""
_NO_LOAD = Load(in_flight=0, minute=0, requests=0, tokens=0)
_LASTING = frozenset({Status.DISABLED, Status.EXPIRED})
_MANY_MODELS = 64
"""Callers choose names: from here on, rests of models that are over are looked for and dropped."""


class Directory:
    """All accounts of this process. `generation` grows when the accounts or their lists change."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: time.time_ns() / 1e9,
        rules: CoolingRules | None = None,
    ) -> None:
        self._clock = clock
        self.rules = rules or CoolingRules()
        self._accounts: dict[str, Account] = {}
        self._lists: dict[frozenset[str], frozenset[str]] = {}
        """Each model list once: most accounts of an upstream have the same one."""
        self._shared: Mapping[str, CoolDown] = {}
        """Rests that other processes know of, by name."""
        self._loaded: set[str] = set()
        """Accounts of which other processes have some load."""
        self._waiting: dict[asyncio.Future[None], float] = {}
        """Each with its place in the row."""
        """Who waits for an account to become free, those who wait longest first."""
        self.generation = 0
        self._is_stale = False
        self.unshared: dict[str, CoolDown | None] = {}
        """Rests begun (or, with None, ended) here that other processes do not know of yet."""
        self.doubted: dict[str, Account] = {}
        """Accounts whose credential was rejected, to be checked."""
        self.unpaid: dict[str, Account] = {}
        """Accounts that have no credit left, to be noted for good."""
        self.healed: dict[str, Account] = {}
        """Accounts that had no credit left, and served nevertheless."""
        self._busy: set[Account] = set()
        """Accounts with requests open, or begun in this minute."""
        self.touched: set[Account] = set()
        """Accounts that were used since their tallies were taken."""

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self._accounts)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Every account."""
        return tuple(self._accounts.values())

    def get(self, account_id: str) -> Account | None:
        """Return an account by its id."""
        return self._accounts.get(account_id)

    def now(self) -> float:
        """Return the time that rests are measured in: unix seconds."""
        return self._clock()

    # ------------------------------------------------------------------------------ who there is

    def replace(self, accounts: Iterable[Account]) -> list[Account]:
        """Make `accounts` the only ones; return those that are gone, for closing."""
        wanted = {account.id: account for account in accounts}
        gone = [key for key in self._accounts if key not in wanted]
        return self.change(wanted.values(), gone)

    def change(self, accounts: Iterable[Account], gone: Iterable[str]) -> list[Account]:
        """Take in accounts that are new or other than before; return those that are gone."""
        left = [self._accounts.pop(name) for name in gone if name in self._accounts]
        moves = bool(left)
        for account in accounts:
            before = self._accounts.get(account.id)
            if before is not None:
                # It keeps its state, its open requests and what is counted of it.
                place = before.place()
                before.become(account)
                moves = moves or before.place() != place
            else:
                account.models = self._shared_list(account.models)
                self._accounts[account.id] = account
                moves = True
        # Finding out anew who can serve what takes long where there are many accounts.
        self.generation += moves
        self.wake()
        return left

    def set_models(self, account: Account, models: frozenset[str] | None) -> None:
        """Take an upstream's own model list."""
        if account.models != models:
            account.models = self._shared_list(models)
            if len(self._accounts) > _MANY:
                self._is_stale = True
            else:
                self.generation += 1

    def freshen(self) -> None:
        """Let lists that came meanwhile count: where accounts are many, for all of them at once."""
        if self._is_stale:
            self._is_stale = False
            self.generation += 1

    def _shared_list(self, models: frozenset[str] | None) -> frozenset[str] | None:
        """Return the list that other accounts have already, where it is the same."""
        if models is None:
            return None
        if len(self._lists) > 2 * len(self._accounts) + 1:  # old ones that no account has any more
            self._lists = {}
        return self._lists.setdefault(models, models)

    # ------------------------------------------------------------------------- one attempt's way

    def begin(self, account: Account, model: str, mode: str, tokens: int) -> bool:
        """Count that a request goes out; return False when there is no room for it any more."""
        now = self.now()
        if account.is_bounded and account.bound_reached(model, mode, now):
            return False
        if account.rest_until > now:
            if account.rest_reason not in SOFT:
                return False
        elif account.failures >= self.rules.down_after or account.standing is Status.COOLING:
            # The first one after a rest tries whether it is well again; the others wait for that.
            account.rest_until = now + self.rules.down_s
            account.rest_reason = ErrorKind.UPSTREAM_DOWN
            account.is_probed = True
        account.begin(mode, tokens, now)
        self._busy.add(account)
        return True

    def end(self, account: Account, tokens: int) -> None:
        """Count that a request ended, and correct its tokens by so many."""
        account.end(tokens, self.now())
        if self._waiting:
            self.wake(_WOKEN_BY_ONE)

    def note_success(self, account: Account, model: str = "") -> None:
        """An attempt went well: whatever was held against the account is forgotten."""
        self.touched.add(account)
        tally = account.tally
        tally.uses += 1
        now = tally.last_used = self.now()
        if account.health < 1.0:
            account.note_health(went_well=True)
        account.rejections = 0
        account.is_probed = False
        # What was sent before the credit ran out says nothing of it.
        if account.standing is Status.COOLING and not account.is_resting(now):
            account.stand(Status.ACTIVE, "", now)
            self.healed[account.id] = account
        if account.model_rests or account.model_limits:
            self._note_model_served(account, model, now)
        if account.rest_reason is None:
            account.failures = 0
            return
        if account.rest_reason not in SOFT and account.is_resting(now):
            return  # It was sent before the rest began; the rest stands.
        account.failures = 0
        self._end_rest(account)

    def _note_model_served(self, account: Account, model: str, now: float) -> None:
        rest = account.model_rests.get(model)
        if rest is not None and now < rest.until:
            return  # It was sent before the rest began; the rest stands.
        if account.model_limits:
            account.model_limits.pop(model, None)
        if rest is not None:
            self._end_rest(account, model)

    def note_failure(self, account: Account, error: GroxyError, model: str = "") -> None:
        """An attempt failed: let the account rest if that was its fault or its upstream's."""
        if error.facts.fault not in (Fault.ACCOUNT, Fault.UPSTREAM):
            return
        self._count_failure(account, error)
        if not account.upstream.accounts_rest:
            return
        account.note_health(went_well=False)
        if error.kind is ErrorKind.UPSTREAM_LIMITED and model:
            self._rest_model(account, model, error)
            return
        now = self.now()
        # What was sent before a rest began may fail during it: that is not one failure more, and
        # can only make the rest longer.
        is_late = account.is_resting(now)
        if is_late and error.kind in SOFT:
            return
        # Nor is what fails together with others while there is a doubt already.
        is_one_of_many = error.kind in SOFT and account.is_doubtful(now) and not account.is_probed
        if not is_late and not is_one_of_many:
            account.failures += 1
        account.is_probed = False
        times = account.failures
        if error.kind is ErrorKind.UPSTREAM_AUTH:
            account.rejections += not is_late
            times = account.rejections
            self.doubted.setdefault(account.id, account)
        elif error.kind is ErrorKind.UPSTREAM_QUOTA:
            self.unpaid.setdefault(account.id, account)
        until = now + self.rules.rest_s(error, times)
        is_in_force = is_late or (error.kind in SOFT and account.is_doubtful(now))
        if until > (account.rest_until if is_in_force else now):
            self.rest(account, until, error.kind)

    def _count_failure(self, account: Account, error: GroxyError) -> None:
        self.touched.add(account)
        tally = account.tally
        tally.failures += 1
        tally.last_used = tally.last_failed = self.now()
        tally.last_error = error.kind.value

    def _rest_model(self, account: Account, model: str, error: GroxyError) -> None:
        """Let one model of an account rest: limits are per model (docs.x.ai, rate limits, 2026)."""
        now = self.now()
        before = account.model_rests.get(model)
        is_late = before is not None and now < before.until
        if len(account.model_limits) > _MANY_MODELS:
            _forget_models(account, now)
        times = account.model_limits.get(model, 0) + (not is_late)
        account.model_limits[model] = times
        until = now + self.rules.rest_s(error, times)
        if before is None or until > before.until:
            self.rest(account, until, error.kind, model)

    # -------------------------------------------------------------------------------------- rests

    def rest(self, account: Account, until: float, reason: ErrorKind, model: str = "") -> None:
        """Let an account rest, or one of its models; one that is out of service stays so."""
        if model:
            account.model_rests[model] = Rest(until, reason)
            account.is_bounded = True
        elif account.standing in _LASTING:
            return
        else:
            account.rest_until, account.rest_reason = until, reason
        self._tell(_name_of(account.id, model), CoolDown(until=until, reason=reason.value))

    def clear(self, account: Account, model: str = "") -> None:
        """End a rest before its time: of one model, or the account's and all its models'."""
        if model:
            self._end_rest(account, model)
        else:
            for name in tuple(account.model_rests):
                self._end_rest(account, name)
            self._end_rest(account)
            account.clear_rests()
        self.wake()

    def _end_rest(self, account: Account, model: str = "") -> None:
        if model:
            account.model_rests.pop(model, None)
            account.note_terms()
        else:
            account.rest_until, account.rest_reason = 0.0, None
        self._tell(_name_of(account.id, model), None)

    # -------------------------------------------------------------------------------------- waiting

    async def room(self, timeout_s: float, place: float | None = None) -> None:
        """Return when some account has become free, or after a time.

        Who waits several times for one thing keeps its `place` in the row; the least is the first.
        """
        freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[freed] = time.monotonic() if place is None else place
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await freed
        finally:
            self._waiting.pop(freed, None)

    def wake(self, most: int | None = None) -> None:
        """Let those who wait look again: all, or those who wait longest."""
        waiting = self._waiting
        for freed in nsmallest(
            len(waiting) if most is None else most, waiting, key=waiting.__getitem__
        ):
            del self._waiting[freed]
            if not freed.done():
                freed.set_result(None)

    # --------------------------------------------------------------------------- other processes

    def _tell(self, name: str, rest: CoolDown | None) -> None:
        """Note news for other processes, in place of older news of the same rest."""
        self.unshared.pop(name, None)
        self.unshared[name] = rest

    def take_shared(self, resting: Mapping[str, CoolDown]) -> None:
        """Take over what other processes learned about accounts."""
        for name in self._shared.keys() | resting.keys():
            if name in self.unshared:
                continue  # What happened here meanwhile is newer.
            account_id, _, model = name.partition(_BETWEEN)
            account = self._accounts.get(account_id)
            if account is None:
                continue
            if name in resting:
                _take(account, model, resting[name])
            else:
                _end(account, model, self._shared[name])
        self._shared = dict(resting)

    def take_loads(self, loads: Mapping[str, Load]) -> None:
        """Take over what other processes have on accounts."""
        for account_id in self._loaded | loads.keys():
            account = self._accounts.get(account_id)
            if account is not None:
                account.elsewhere = loads.get(account_id, _NO_LOAD)
        self._loaded = set(loads)

    def loads(self) -> dict[str, Load]:
        """Return what this process has on accounts, where it is anything."""
        now = self.now()
        loads = {account: account.load(now) for account in self._busy}
        self._busy = {one for one, load in loads.items() if load.in_flight or load.requests}
        total: dict[str, Load] = {}
        for account in self._busy:
            # One that was changed is there twice, as long as the old one has requests open.
            add_loads(total, {account.id: loads[account]})
        return total

    # ------------------------------------------------------------------------------------- counts

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Count accounts by upstream, pool and status; a status that none has counts 0."""
        now = self.now()
        counts: Counter[tuple[str, str, str]] = Counter()
        for account in self._accounts.values():
            own = account.status(now)
            for status in Status:
                counts[account.upstream.name, account.pool.value, status.value] += status is own
        return counts


def _name_of(account_id: str, model: str) -> str:
    return f"{account_id}{_BETWEEN}{model}" if model else account_id


def _take(account: Account, model: str, rest: CoolDown) -> None:
    """Put a rest in force that another process began."""
    # A reason that only a newer Groxy knows makes the account doubtful.
    reason = _KINDS.get(rest.reason, ErrorKind.UPSTREAM_DOWN)
    if model:
        account.model_rests[model] = Rest(rest.until, reason)
        account.is_bounded = True
    elif account.standing not in _LASTING:
        account.rest_until, account.rest_reason = rest.until, reason


def _end(account: Account, model: str, rest: CoolDown) -> None:
    """End a rest that another process ended, unless a newer one has begun here."""
    if model:
        own = account.model_rests.get(model)
        if own is not None and own.until == rest.until:
            del account.model_rests[model]
            account.note_terms()
    elif account.standing not in _LASTING and account.rest_until == rest.until:
        account.rest_until, account.rest_reason = 0.0, None


def _forget_models(account: Account, now: float) -> None:
    """Drop the rests of models that are over, and what led to them."""
    account.model_rests = {
        model: rest for model, rest in account.model_rests.items() if now < rest.until
    }
    account.model_limits = {
        model: times
        for model, times in account.model_limits.items()
        if model in account.model_rests
    }
