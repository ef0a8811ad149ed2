"""The overseer: what lasts of how accounts stand, and what an operator does about it.

In: rejected credentials and spent credit from the directory, orders of the operator, standings that
other processes wrote. Out: standings in the store, and accounts that follow them. What it does to
an account it does at once here, and in every other process as soon as that reads the store.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Protocol

import msgspec
from msgspec import UNSET

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaWindow
from groxy.observe.logs import get_logger
from groxy.routing.account import Account, Status, Tally
from groxy.routing.accounts import Directory
from groxy.routing.enquiries import ask_for_credential
from groxy.store.standings import Standing, StandingChange, Tally as StoredTally, Written

OPERATOR_DISABLED = "operator_disabled"
CONFIRMED = "credential_rejected"
NO_CREDIT = ErrorKind.UPSTREAM_QUOTA.value
_STATUSES = {status.value: status for status in Status}
"""A word that only a newer Groxy knows takes an account out of service here: it may mean that."""
_CHECKS_AT_ONCE = 16
"""One upstream that does not answer must not keep all others waiting."""


class StandingStore(Protocol):
    """Where standings last; see `store.standings`."""

    async def write(self, changes: Sequence[StandingChange]) -> Written:
        """Write what changed of some standings; return what became of that."""
        ...

    async def add_tallies(self, tallies: Sequence[StoredTally]) -> None:
        """Add counts to those in the store."""
        ...


Check = Callable[[Account], bool]


def _always(_: Account) -> bool:
    return True


class Overseer:
    """Changes how accounts stand."""

    def __init__(self, directory: Directory, store: StandingStore) -> None:
        self._directory = directory
        self._store = store
        self._standing = asyncio.Lock()
        """Held from the decision how accounts stand until they do, here and in the store: else what
        was decided first could be written last."""
        self._log = get_logger("routing")

    # ------------------------------------------------------------------------ the operator's orders

    async def disable(self, accounts: Sequence[Account], reason: str = OPERATOR_DISABLED) -> None:
        """Take accounts out of service until they are enabled again."""
        await self._stand(accounts, Status.DISABLED, reason)

    async def enable(self, accounts: Sequence[Account], only_if: Check = _always) -> None:
        """Put accounts to work again, whatever was held against them.

        Only those for which `only_if` is true at the moment when it can be noted.
        """
        for account in await self._stand(accounts, Status.ACTIVE, "", only_if):
            self._directory.clear(account)

    async def expire(
        self, accounts: Sequence[Account], reason: str = CONFIRMED, only_if: Check = _always
    ) -> Sequence[Account]:
        """Note that credentials do not work any more; `only_if` as of `enable`. Return whose."""
        return await self._stand(accounts, Status.EXPIRED, reason, only_if)

    def cool(
        self,
        account: Account,
        *,
        for_s: float,
        reason: ErrorKind = ErrorKind.UPSTREAM_LIMITED,
        model: str = "",
    ) -> None:
        """Let an account rest, or one of its models, for so long from now on."""
        until = self._directory.now() + for_s
        self._directory.rest(account, until, reason, model)

    async def clear(self, accounts: Sequence[Account], model: str = "") -> None:
        """End rests before their time; those of disabled and expired accounts stay."""
        async with self._standing:
            paid = [account for account in accounts if account.standing is Status.COOLING]
            if paid and not model:
                await self._write(paid, Status.ACTIVE, "")
            now = self._directory.now()
            if not model:
                # So that processes learn of it that share no state with this one.
                cleared_ms = int(now * 1000)
                await self._store.write(
                    [StandingChange(account_id=one.id, cleared_ms=cleared_ms) for one in accounts]
                )
            for account in accounts:
                account.cleared_at = now
                if account.standing in (Status.ACTIVE, Status.COOLING):
                    self._directory.clear(account, model)

    async def _stand(
        self,
        accounts: Sequence[Account],
        status: Status,
        reason: str,
        only_if: Check = _always,
    ) -> Sequence[Account]:
        async with self._standing:
            found = [account for account in accounts if only_if(account)]
            if not found:
                return found
            return await self._write(found, status, reason, is_ordered=only_if is _always)

    async def _write(
        self, accounts: Sequence[Account], status: Status, reason: str, *, is_ordered: bool = True
    ) -> Sequence[Account]:
        """Return which accounts stand so from now on.

        What is not ordered by an operator does not undo what one ordered in another process.
        """
        now = self._directory.now()
        changes = [
            StandingChange(
                account_id=account.id,
                status=status.value,
                reason=reason,
                since_ms=int(now * 1000),
                until_ms=None,
                was=UNSET if is_ordered else _known(account, self._directory.healed),
            )
            for account in accounts
        ]
        # The store first: what it does not have would be gone with this process.
        written = await self._store.write(changes)
        left = {standing.account_id for standing in written.left_out}
        done = [account for account in accounts if account.id not in left]
        for account in done:
            account.stand(status, reason, now)
        self.take(written.left_out)
        self._directory.wake()
        return done

    # ------------------------------------------------------------------------------- what is noted

    async def settle_doubts(self) -> None:
        """Check each credential that was rejected: one that is found bad is expired.

        Raises STORE_DOWN when one could not be noted; it is checked again the next time.
        """
        doubted, self._directory.doubted = self._directory.doubted, {}
        slots = asyncio.Semaphore(_CHECKS_AT_ONCE)
        errors: list[GroxyError] = []

        async def one(account: Account) -> None:
            async with slots:
                try:
                    await self._confirm(account)
                except GroxyError as error:
                    self._directory.doubted.setdefault(account.id, account)
                    errors.append(error)
                except Exception:  # noqa: BLE001 - a defect that one meets is not the others'
                    # Not asked again at once: its rest runs out, and the account is tried again.
                    self._log.exception("check of a credential crashed", account=account.id)

        async with asyncio.TaskGroup() as tasks:
            for account in doubted.values():
                tasks.create_task(one(account))
        if errors:
            raise errors[0]

    async def _confirm(self, account: Account) -> None:
        if not self._is_active(account):
            return
        asked_with = account.credentials
        try:
            wrong = await ask_for_credential(account)
        except GroxyError as error:
            # It says nothing of the credential: the rest runs out, and the account is tried again.
            self._log.info("credential not checked", account=account.id, detail=error.detail)
            return

        def is_as_asked(one: Account) -> bool:
            # Else the operator disabled it meanwhile, or gave it another credential.
            return self._is_active(one) and one.credentials == asked_with

        if wrong is ErrorKind.UPSTREAM_AUTH:
            if await self.expire([account], only_if=is_as_asked):
                self._log.warning("account expired", account=account.id)
        elif is_as_asked(account):
            # It is good in general: what was asked is closed to it, and others go first meanwhile.
            self._log.info("credential is good after all", account=account.id)

    def _is_active(self, account: Account) -> bool:
        """True when an account is still one of ours, and nothing lasting is held against it."""
        is_ours = self._directory.get(account.id) is account
        return is_ours and account.standing is Status.ACTIVE

    def _is_unpaid(self, account: Account) -> bool:
        """True when an account rests for want of credit, and that is not noted yet."""
        return self._is_active(account) and account.rest_reason is ErrorKind.UPSTREAM_QUOTA

    async def note_credit(self) -> None:
        """Write down which accounts have no credit left, and which have some again.

        Raises STORE_DOWN when that could not be written; it is tried again the next time.
        """
        async with self._standing:
            await self._note_credit()

    async def _note_credit(self) -> None:
        directory = self._directory
        unpaid, directory.unpaid = directory.unpaid, {}
        healed, directory.healed = directory.healed, {}
        now = directory.now()
        spent = [account for account in unpaid.values() if self._is_unpaid(account)]
        paid = [one for one in healed.values() if self._is_active(one) and one not in spent]
        changes = [_cooling(account, now, _known(account, healed)) for account in spent]
        changes += [_active(account, now, _known(account, healed)) for account in paid]
        if not changes:
            return
        try:
            written = await self._store.write(changes)
        except GroxyError:
            directory.unpaid = unpaid | directory.unpaid
            directory.healed = healed | directory.healed
            raise
        left = {standing.account_id for standing in written.left_out}
        for account in spent:
            if self._is_unpaid(account) and account.id not in left:
                account.stand(Status.COOLING, NO_CREDIT, now)
        self.take(written.left_out)

    async def flush_tallies(self) -> None:
        """Write down how often accounts were used."""
        touched, self._directory.touched = self._directory.touched, set()
        taken = {account: account.tally for account in touched}
        for account in touched:
            account.tally = Tally()
        try:
            await self._store.add_tallies([_stored(one.id, own) for one, own in taken.items()])
        except GroxyError:
            for account, tally in taken.items():
                _add(account.tally, tally)
            self._directory.touched |= touched
            raise

    # --------------------------------------------------------------------------- other processes

    def take(self, standings: Iterable[Standing]) -> None:
        """Put in force what the store says of accounts."""
        for standing in standings:
            account = self._directory.get(standing.account_id)
            if account is not None:
                take_standing(account, standing, self._directory)


def take_standing(account: Account, standing: Standing, directory: Directory | None) -> None:
    """Let an account stand as the store says."""
    status = _STATUSES.get(standing.status, Status.DISABLED)
    since = standing.since_ms / 1000
    if (status, standing.reason) != (account.standing, account.standing_reason):
        account.stand(status, standing.reason, since)
    if status is Status.COOLING:
        account.rest_until = inf if standing.until_ms is None else standing.until_ms / 1000
        account.rest_reason = ErrorKind.UPSTREAM_QUOTA
    if standing.cleared_ms / 1000 > account.cleared_at:
        account.cleared_at = standing.cleared_ms / 1000
        if directory is not None and account.standing is Status.ACTIVE:
            directory.clear(account)
    account.checked_at, account.note = standing.checked_ms / 1000, standing.note
    for mode, window in standing.windows.items():
        own = account.windows.get(mode)
        if mode in account.declared:
            continue
        if own is None or own.synced_at < window.synced_at:
            account.windows[mode] = msgspec.structs.replace(window)
    account.note_terms()
    models = None if standing.models is None else frozenset(standing.models)
    if models is not None and directory is not None:
        directory.set_models(account, models)
    elif models is not None:
        account.models = models


def standing_of(
    account: Account, *, windows: dict[str, QuotaWindow], note: str, checked_at: float
) -> StandingChange:
    """Return what a refresh found out about an account, for the store."""
    return StandingChange(
        account_id=account.id,
        windows=windows,
        note=note,
        checked_ms=int(checked_at * 1000),
        models=None if account.models is None else tuple(sorted(account.models)),
    )


def _known(account: Account, healed: Mapping[str, Account]) -> tuple[str, str]:
    """Return how the store has an account, as far as is known here."""
    if account.standing is Status.ACTIVE and account.id in healed:
        # It served again, which is not written yet.
        return Status.COOLING.value, NO_CREDIT
    return account.standing.value, account.standing_reason


def _cooling(account: Account, now: float, was: tuple[str, str]) -> StandingChange:
    return StandingChange(
        account_id=account.id,
        status=Status.COOLING.value,
        reason=NO_CREDIT,
        since_ms=int(now * 1000),
        until_ms=None if account.rest_until == inf else int(account.rest_until * 1000),
        was=was,
    )


def _active(account: Account, now: float, was: tuple[str, str]) -> StandingChange:
    return StandingChange(
        account_id=account.id,
        status=Status.ACTIVE.value,
        reason="",
        since_ms=int(now * 1000),
        until_ms=None,
        was=was,
    )


def _stored(account_id: str, tally: Tally) -> StoredTally:
    return StoredTally(
        account_id=account_id,
        uses=tally.uses,
        failures=tally.failures,
        tokens=tally.tokens,
        cost_ticks=tally.cost_ticks,
        last_used_ms=int(tally.last_used * 1000),
        last_failed_ms=int(tally.last_failed * 1000),
        last_error=tally.last_error,
    )


def _add(tally: Tally, more: Tally) -> None:
    """Add counts that could not be written to those that came meanwhile."""
    tally.uses += more.uses
    tally.failures += more.failures
    tally.tokens += more.tokens
    tally.cost_ticks += more.cost_ticks
    tally.last_used = max(tally.last_used, more.last_used)
    if more.last_failed > tally.last_failed:
        tally.last_failed, tally.last_error = more.last_failed, more.last_error
