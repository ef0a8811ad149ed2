"""Refresh: what upstreams tell of accounts, fetched on import, on demand and on a schedule.

In: accounts. Out: their model lists, the state of their keys, and what quota is left, put in force
and into the store. One process of a cluster follows the schedule; each may refresh on demand. A
question that fails leaves what was known before, unless the upstream says that the key is bad.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe.logs import get_logger
from groxy.routing.account import Account, Status
from groxy.routing.accounts import Directory
from groxy.routing.enquiries import fetch_key, fetch_models
from groxy.routing.overseer import CONFIRMED, NO_CREDIT, Overseer, StandingStore, standing_of
from groxy.store.standings import StandingChange
from groxy.upstreams._base import Credentials, KeyFacts

_LOOK_EVERY_S = 1.0
_WRITE_AFTER = 100
_LOOKS_AT_ONCE = 5000
"""Accounts looked at before others get their turn."""
_BLOCKED = "key_blocked"
_RETRY_S = 60.0
_LONGEST_RETRY_S = 3600.0
_DOUBLINGS = 6
_CHANGED = "the account was changed or removed meanwhile; refresh it again"
_CRASHED = "internal_error: the refresh crashed; the log says where"

Lead = Callable[[], Awaitable[bool]]
"""Says whether this process is the one that follows the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh of one account brought."""

    account_id: str
    refreshed: int
    """How many things were fetched: its list, its key."""
    error: str = ""
    """Why one was not, in words for the operator; empty when all were."""
    is_expired: bool = False
    """True when the credential was found bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often accounts are refreshed: the settings of section `refresh`."""

    every_s: float = 3600.0
    """0 is only on demand."""
    jitter: float = 0.2
    at_once: int = 8


class Refresher:
    """Keeps what is known of accounts fresh."""

    def __init__(
        self, directory: Directory, overseer: Overseer, store: StandingStore, schedule: Schedule
    ) -> None:
        self._directory = directory
        self._overseer = overseer
        self._store = store
        self.schedule = schedule
        self._due: dict[str, float] = {}
        """When to ask again, by account."""
        self._misses: dict[str, int] = {}
        """How often in a row an upstream told nothing of an account."""
        self._asked: dict[str, Credentials] = {}
        """Accounts that the schedule asks about or will, and with what."""
        self._slots: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()
        """Of each upstream that the schedule asks: who looks anew shares what is left of them."""
        self._look = asyncio.Event()
        self._log = get_logger("routing")

    def look_now(self) -> None:
        """Look soon for accounts that nothing is known of yet."""
        self._look.set()

    async def run(self, lead: Lead) -> None:
        """Refresh accounts when they are due, for ever, as long as this process leads."""
        self._asked = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._look.clear()
                due = await self._due_accounts()
                if due and await self._leads(lead):
                    for place, accounts in _by_place(due).items():
                        self._asked |= {account.id: account.credentials for account in accounts}
                        tasks.create_task(self._ask(place, accounts))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._look.wait()

    async def _ask(self, place: str, accounts: Sequence[Account]) -> None:
        """Refresh accounts of one upstream: who is silent keeps nobody waiting elsewhere."""
        at_once = self.schedule.at_once
        slots = self._slots.setdefault((place, at_once), asyncio.Semaphore(at_once))

        async def is_answered(one: Refreshed) -> None:
            self._asked.pop(one.account_id, None)

        try:
            await self.refresh(accounts, slots=slots, on_each=is_answered)
        except Exception:  # noqa: BLE001 - a defect at one upstream must not end the schedule
            self._log.exception("refresh crashed", place=place)
            for account in accounts:
                if self._asked.pop(account.id, None) is not None:
                    self._give_up(account)

    async def _leads(self, lead: Lead) -> bool:
        try:
            return await lead()
        except GroxyError as error:
            self._log.warning("nobody leads the refresh", detail=error.detail)
            return False

    async def _due_accounts(self) -> list[Account]:
        """Return accounts that nothing was asked of yet, or whose time has come."""
        now, every_s = self._directory.now(), self.schedule.every_s
        due = []
        for index, account in enumerate(self._directory.accounts):
            if index % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if account.standing is Status.DISABLED:
                continue
            is_new = account.checked_at == 0.0
            is_due = is_new or (every_s and now >= self._due_at(account, every_s))
            # Another credential is another question: it does not wait for the first one's turn.
            if is_due and self._asked.get(account.id) != account.credentials:
                due.append(account)
        return due

    def _due_at(self, account: Account, every_s: float) -> float:
        due = self._due.get(account.id)
        if due is None:
            due = self._due[account.id] = account.checked_at + self._spread(every_s)
        return due

    def _spread(self, every_s: float) -> float:
        # Drawn anew each time, so that accounts added together do not stay together.
        jitter = self.schedule.jitter
        return every_s * random.uniform(1 - jitter, 1 + jitter)  # noqa: S311 - a time, no secret

    def _put_off(self, account: Account, *, was_told: bool) -> None:
        """Note when to ask again: soon after an upstream that could not be reached."""
        if len(self._due) > 2 * len(self._directory) + 1:  # accounts that have gone
            self._due, self._misses = {}, {}
        misses = 0 if was_told else self._misses.get(account.id, 0) + 1
        self._misses[account.id] = misses
        wait_s = self.schedule.every_s
        if misses:
            wait_s = min(wait_s or _LONGEST_RETRY_S, _RETRY_S * 2.0 ** min(misses - 1, _DOUBLINGS))
        self._due[account.id] = self._directory.now() + self._spread(wait_s)

    def _give_up(self, account: Account) -> None:
        """Put an account off that was not asked to the end, also one that nothing is known of."""
        account.checked_at = self._directory.now()
        self._put_off(account, was_told=False)

    async def refresh(
        self,
        accounts: Sequence[Account],
        *,
        at_once: int = 0,
        slots: asyncio.Semaphore | None = None,
        on_each: Callable[[Refreshed], Awaitable[None]] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> list[Refreshed]:
        """Refresh accounts, a few at once; return what it brought, in the order of `accounts`.

        Those that were not begun when `is_cancelled` became true are left out. `slots`, in place of
        `at_once`, are shared with other calls.
        """
        free = slots or asyncio.Semaphore(at_once or self.schedule.at_once)
        found: dict[str, Refreshed] = {}
        unwritten: list[StandingChange] = []

        async def one(account: Account) -> None:
            async with free:
                if is_cancelled():
                    return
                refreshed, change = await self._refreshed(account)
            found[account.id] = refreshed
            if change is not None:
                unwritten.append(change)
            if len(unwritten) >= _WRITE_AFTER:
                await self._write(unwritten)
            if on_each is not None:
                await on_each(refreshed)

        async with asyncio.TaskGroup() as tasks:
            for account in accounts:
                tasks.create_task(one(account))
        await self._write(unwritten)
        self._directory.freshen()
        failed = [one for one in found.values() if one.error]
        if failed:
            first = failed[0]
            self._log.info(
                "accounts not refreshed",
                count=len(failed),
                of=len(found),
                account=first.account_id,
                detail=first.error,
            )
        return [found[account.id] for account in accounts if account.id in found]

    async def _write(self, unwritten: list[StandingChange]) -> None:
        changes, unwritten[:] = unwritten[:], []
        if not changes:
            return
        try:
            await self._store.write(changes)
        except GroxyError as error:
            # It is in force here, and will be asked again: nothing of it is owed to anybody.
            self._log.warning("refresh not stored", detail=error.detail or error.message)

    async def _refreshed(self, account: Account) -> tuple[Refreshed, StandingChange | None]:
        """Ask as `_refresh` does; whatever an account meets, the others are asked too."""
        try:
            return await self._refresh(account)
        except Exception:  # noqa: BLE001 - a defect that one meets is not the others'
            self._log.exception("refresh crashed", account=account.id)
            self._give_up(account)
            return Refreshed(account_id=account.id, refreshed=0, error=_CRASHED), None

    async def _refresh(self, account: Account) -> tuple[Refreshed, StandingChange | None]:
        """Ask an upstream all that it tells of an account."""
        upstream, errors, count = account.upstream, [], 0
        asked_with = account.credentials
        facts: KeyFacts | None = None
        models: frozenset[str] | None = None
        try:
            if upstream.key_path:
                facts = await fetch_key(account)
                count += 1
        except GroxyError as error:
            errors.append(error)
        try:
            if upstream.models_path and not _is_bad(errors):
                models = await fetch_models(account)
                count += 1
        except GroxyError as error:
            errors.append(error)
        is_ours = self._directory.get(account.id) is account
        if not is_ours or account.credentials != asked_with:
            # What was told is told of a credential that is not this account's any more.
            return Refreshed(account_id=account.id, refreshed=0, error=_CHANGED), None
        try:
            await self._follow(account, facts, errors, has_answered=count > 0)
        except GroxyError as error:  # the store is out of reach; the next refresh finds it again
            errors.append(error)
        self._take(account, facts, models)
        self._put_off(account, was_told=count > 0)
        return self._told(account, facts, errors, count)

    def _take(
        self, account: Account, facts: KeyFacts | None, models: frozenset[str] | None
    ) -> None:
        """Put in force what was fetched."""
        allowed = facts.models if facts is not None else None
        # An empty list is a hiccup; believing it would make every model unknown.
        listed = models or account.models
        if listed is not None and allowed is not None:
            listed &= allowed
        if listed is not None:
            self._directory.set_models(account, listed)
        if facts is not None:
            for mode, window in facts.windows.items():
                window.synced_at = self._directory.now()
                if mode not in account.declared:
                    account.windows[mode] = window
            account.note_terms()
        account.checked_at = self._directory.now()

    def _told(
        self, account: Account, facts: KeyFacts | None, errors: list[GroxyError], count: int
    ) -> tuple[Refreshed, StandingChange]:
        """Return what a refresh brought, for who asked and for the store."""
        note = facts.note if facts is not None else ""
        error = "; ".join(_words(error) for error in errors)
        if errors:
            self._log.debug("account not refreshed", account=account.id, detail=error)
        account.note = error or note
        change = standing_of(
            account, windows=account.windows, note=account.note, checked_at=account.checked_at
        )
        is_expired = account.standing is Status.EXPIRED
        refreshed = Refreshed(
            account_id=account.id, refreshed=count, error=error, is_expired=is_expired
        )
        return refreshed, change

    async def _follow(
        self,
        account: Account,
        facts: KeyFacts | None,
        errors: Iterable[GroxyError],
        *,
        has_answered: bool,
    ) -> None:
        """Let an account stand as its upstream says it does."""
        says = facts.standing if facts is not None else None
        # Where anybody may read the list, who may not is another matter than whose key is bad.
        is_refused = _is_bad(errors) and account.upstream.confirms_auth
        is_bad = says is ErrorKind.UPSTREAM_AUTH or is_refused
        standing, reason = account.standing, account.standing_reason

        asked_with = account.credentials

        def stands_so(one: Account) -> bool:
            # Else an operator changed it meanwhile, and what was told is of what it was before.
            is_ours = self._directory.get(one.id) is one and one.credentials == asked_with
            return is_ours and (one.standing, one.standing_reason) == (standing, reason)

        if is_bad and standing in (Status.ACTIVE, Status.COOLING):
            why = _BLOCKED if says is ErrorKind.UPSTREAM_AUTH else CONFIRMED
            await self._overseer.expire([account], why, stands_so)
        elif says is ErrorKind.UPSTREAM_QUOTA and standing is Status.ACTIVE:
            rest_s = self._directory.rules.billing_s
            self._directory.rest(account, self._directory.now() + rest_s, ErrorKind.UPSTREAM_QUOTA)
            self._directory.unpaid[account.id] = account
        elif not is_bad and has_answered and says is None:
            # Not all answers prove it, but trying costs one attempt in each interval at most.
            was_expired = standing is Status.EXPIRED and reason in (CONFIRMED, _BLOCKED)
            was_unpaid = standing is Status.COOLING and reason == NO_CREDIT and facts is not None
            if was_expired or was_unpaid:
                await self._overseer.enable([account], stands_so)


def _by_place(accounts: Iterable[Account]) -> dict[str, list[Account]]:
    """Return accounts by the upstream that is asked, as far as it answers or not on its own."""
    found: dict[str, list[Account]] = {}
    for account in accounts:
        place = urlsplit(account.credentials.base_url).netloc or account.upstream.name
        found.setdefault(place, []).append(account)
    return found


def _is_bad(errors: Iterable[GroxyError]) -> bool:
    return any(error.kind is ErrorKind.UPSTREAM_AUTH for error in errors)


def _words(error: GroxyError) -> str:
    return f"{error.kind.value}: {error.detail or error.message}"
