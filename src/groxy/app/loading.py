"""Loading: what other processes, the command line and the admin API wrote to the store.

In: revisions of tables. Out: keys, users, plans, prices, settings, accounts and standings in force.
Only what changed is read: of 100,000 accounts those that are other than before.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network

from groxy.app.accounts import STORED
from groxy.app.live import LiveSettings
from groxy.app.money import Money
from groxy.app.people import People
from groxy.core.errors import GroxyError
from groxy.observe import logs
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.overseer import Overseer
from groxy.routing.refresh import Refresher
from groxy.settings import Secret
from groxy.store.accounts import ACCOUNTS, accounts_since
from groxy.store.database import Database
from groxy.store.keys import KEYS
from groxy.store.ledger import BALANCES
from groxy.store.overrides import OVERRIDES
from groxy.store.plans import PLANS
from groxy.store.prices import PRICES
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import STANDINGS, standings_since
from groxy.store.users import USERS

_AT_ONCE = 500
"""Accounts made before others get their turn."""


@dataclass(kw_only=True)
class Loader:
    """Puts in force what the store has."""

    database: Database
    secret: InstallationSecret
    live: LiveSettings
    directory: Directory
    overseer: Overseer
    refresher: Refresher
    callers: Keyring
    operators: Keyring
    money: Money | None = None
    """None for one that has no prices and no balances to follow."""
    leaving: list[Account] = field(default_factory=list)
    """Accounts that are gone but still answer requests that they began."""
    _revisions: dict[str, int] = field(default_factory=dict)
    """Of each table: as it was before it was loaded."""
    _accounts_at: int = -1
    _standings_at: int = 0
    _has_begun: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    people: People = field(init=False)
    """Users and plans in force, by id."""
    _log: logs.Logger = field(default_factory=lambda: logs.get_logger("app"))

    def __post_init__(self) -> None:
        """Begin with nobody."""
        self.people = People(database=self.database, callers=self.callers, operators=self.operators)

    @property
    def accounts_revision(self) -> int:
        """The revision of the accounts in force."""
        return max(self._accounts_at, 0)

    async def load_changes(self) -> None:
        """Put in force what changed since it was loaded."""
        async with self._lock:
            # Read before the tables are: what changes in between is loaded the next time.
            now = time.monotonic()
            revisions = await self.database.revisions()
            if self._is_other(OVERRIDES, revisions):
                await self.live.load()
            if any(self._is_other(name, revisions) for name in (KEYS, USERS, PLANS)):
                await self.load_keys()
            if self.money is not None:
                await self._load_money(self.money, revisions)
            self.callers.confirm(now)
            self.operators.confirm(now)
            if self._is_other(ACCOUNTS, revisions) or self._accounts_at < 0:
                await self._load_accounts()
            if self._is_other(STANDINGS, revisions) or not self._has_begun:
                await self._load_standings()
            self._revisions = revisions

    def _is_other(self, name: str, revisions: dict[str, int]) -> bool:
        return not self._has_begun or self._revisions.get(name) != revisions.get(name)

    async def load_keys(self) -> None:
        """Put the keys of the settings in force, and what changed of those of the store.

        A key follows its user and its plan.
        """
        await self.people.load()
        app, digest = self.live.settings.app, self.secret.digest
        self.callers.replace_lasting(
            _set_keys(app.api_key or (), "settings", digest), is_open=app.is_open
        )
        operator = (app.app_key,) if app.app_key else ()
        self.operators.replace_lasting(_set_keys(operator, "settings-admin", digest))
        proxies = self.live.settings.server.trusted_proxies
        self.callers.trusted_proxies = tuple(ip_network(proxy) for proxy in proxies)
        ended = self.live.means.open_calls.end()
        if ended:
            self._log.info("calls of keys that are no more were ended", calls=ended)

    async def _load_money(self, money: Money, revisions: dict[str, int]) -> None:
        if self._is_other(PRICES, revisions):
            await money.load_prices()
        if self._is_other(BALANCES, revisions):
            await money.load_balances()

    def forget_keys(self) -> None:
        """Read the keys again with the next look."""
        self._revisions[KEYS] = -1

    async def _load_accounts(self) -> None:
        """Put the accounts of settings and store to work; the sandbox if there are none."""
        news = await accounts_since(self.database, self.secret, max(self._accounts_at, 0))
        fresh = self.live.maker.declared() if self._accounts_at < 0 else []
        for start in range(0, len(news.accounts), _AT_ONCE):
            for stored in news.accounts[start : start + _AT_ONCE]:
                try:
                    fresh.append(self.live.maker.stored(stored))
                except GroxyError as error:
                    # One that an upgrade made unfit must not keep the others from serving.
                    self._log.error("account left out", account=stored.id, detail=error.message)
            await asyncio.sleep(0)
        gone = list(news.gone)
        if news.is_whole:
            listed = {stored.id for stored in news.accounts}
            known = (one for one in self.directory.accounts if one.origin == STORED)
            gone += [one.id for one in known if one.id not in listed]
        sandbox = self.live.maker.sandbox()
        has_others = any(
            one.id not in gone and one.id != sandbox.id for one in self.directory.accounts
        )
        if fresh or has_others:
            gone.append(sandbox.id)
            gone = [name for name in gone if all(one.id != name for one in fresh)]
        elif self.directory.get(sandbox.id) is None:
            fresh = [sandbox]
        if fresh or gone:
            self.leaving += self.directory.change(fresh, gone)
        self._accounts_at = news.revision
        self.refresher.look_now()

    async def _load_standings(self) -> None:
        since = 0 if not self._has_begun else self._standings_at
        self._standings_at, standings = await standings_since(self.database, since)
        self.overseer.take(standings)
        if not self._has_begun:
            for account in self.directory.accounts:
                if account.origin != STORED:
                    # Its address or key may be another than when it was asked last.
                    account.checked_at = 0.0
        self._has_begun = True


def _set_keys(
    keys: tuple[Secret, ...], name: str, digest: Callable[[str], bytes]
) -> list[KnownKey]:
    return [
        KnownKey(
            digest=digest(key.reveal()),
            caller=Caller(key_id=f"{name}-{number}", name=f"{name} {number}"),
            is_stored=False,
        )
        for number, key in enumerate(keys, 1)
    ]
