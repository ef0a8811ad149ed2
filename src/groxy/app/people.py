"""People: users, plans and keys of the store, as requests need them.

In: what changed in three tables. Out: keys in the keyrings, each with what its user and its plan
permit; users and plans by id. A change is read alone: of 100,000 keys those that are other than
before. Keys are read first: whose user or plan is newer still finds it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from groxy.core.grants import NO_PLAN, NO_USER, Plan
from groxy.observe import logs
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.store.database import Database
from groxy.store.keys import KeyNews, KeyRole, StoredKey, keys_since
from groxy.store.plans import StoredPlan, list_plans
from groxy.store.users import User, UserNews, UserStatus, users_since

_AT_ONCE = 500
"""Keys made before others get their turn."""


@dataclass(kw_only=True)
class People:
    """Users and plans in force."""

    database: Database
    callers: Keyring
    operators: Keyring
    users: dict[str, User] = field(default_factory=dict)
    """By id."""
    plans: dict[str, StoredPlan] = field(default_factory=dict)
    """By id."""
    _plans: dict[str, Plan] = field(default_factory=dict)
    """As requests need them; the default one is under the empty id too."""
    _keys_of: dict[str, set[str]] = field(default_factory=dict)
    """Ids of keys by user."""
    _keys_at: int = 0
    _users_at: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _log: logs.Logger = field(default_factory=lambda: logs.get_logger("app"))

    def plan_of(self, user_id: str) -> Plan:
        """Return the plan of a user: their own, else the default one, else one without bounds."""
        user = self.users.get(user_id)
        return NO_PLAN if user is None else self._plan_of(user)

    async def load(self) -> None:
        """Put in force what changed since it was loaded."""
        async with self._lock:
            keys = await keys_since(self.database, self._keys_at)
            users = await users_since(self.database, self._users_at)
            plans = await list_plans(self.database)
            touched = self._take_users(users) | self._take_plans(plans)
            await self._take_keys(keys)
            await self._renew(touched)
            self._keys_at, self._users_at = keys.revision, users.revision

    def _plan_of(self, user: User) -> Plan:
        return self._plans.get(user.plan_id) or self._plans.get("") or NO_PLAN

    def _take_users(self, news: UserNews) -> set[str]:
        """Keep what changed of users; return the ids of those whose keys it touches."""
        for user_id in news.unfit:
            # A user that an upgrade made unfit must not keep the others from serving.
            self._log.error("user left out, keys do not work", user=user_id)
        gone = set(news.unfit)
        if news.is_whole:
            gone |= self.users.keys() - {user.id for user in news.users}
        for user_id in gone:
            self.users.pop(user_id, None)
        self.users.update((user.id, user) for user in news.users)
        return gone | {user.id for user in news.users}

    def _take_plans(self, stored: list[StoredPlan]) -> set[str]:
        """Keep the plans; return the ids of users whose plan is another than before."""
        before = self._plans
        plans = {plan.id: Plan(id=plan.id, name=plan.name, grant=plan.grant) for plan in stored}
        for plan in stored:
            if plan.is_default:
                plans[""] = plans[plan.id]
        self.plans = {plan.id: plan for plan in stored}
        if plans == before:
            return set()
        self._plans = plans
        return set(self.users)

    async def _take_keys(self, news: KeyNews) -> None:
        """Put keys in force or out of it; first of all out of it."""
        latest = {key.id: key for key in news.keys}
        gone = set(news.gone)
        for keyring in (self.callers, self.operators):
            lost = keyring.stored_ids() - latest.keys() if news.is_whole else set[str]()
            self._forget_owners(keyring, lost | gone)
            keyring.change([], lost | gone)
        keyrings = {KeyRole.CALLER: self.callers, KeyRole.OPERATOR: self.operators}
        for number, key in enumerate(latest.values(), 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if key.id in gone:
                continue
            keyrings[key.role].change([self._known(key)])
            if key.user_id:
                self._keys_of.setdefault(key.user_id, set()).add(key.id)

    def _forget_owners(self, keyring: Keyring, gone: Iterable[str]) -> None:
        for key_id in gone:
            known = keyring.known(key_id)
            theirs = None if known is None else self._keys_of.get(known.caller.user_id)
            if known is not None and theirs is not None:
                theirs.discard(key_id)
                if not theirs:
                    del self._keys_of[known.caller.user_id]

    async def _renew(self, user_ids: Iterable[str]) -> None:
        """Renew the keys of users, where what the user or the plan permits is another."""
        looked_at = 0
        for user_id in user_ids:
            for key_id in tuple(self._keys_of.get(user_id, ())):
                before = self.callers.known(key_id)
                after = before and self._renewed(before)
                if after is not None and after is not before:
                    self.callers.change([after])
                looked_at += 1
                if looked_at % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _known(self, key: StoredKey) -> KnownKey:
        caller = Caller(
            key_id=key.id,
            name=key.name,
            user_id=key.user_id,
            grant=key.grant,
            expires_ms=key.expires_ms,
        )
        known = KnownKey(
            digest=key.digest,
            caller=caller,
            previous=key.previous,
            previous_until_ms=key.previous_until_ms or 0,
            is_disabled=key.disabled_ms is not None,
            is_suspended=key.suspended_ms is not None,
        )
        return self._renewed(known) if key.user_id else known

    def _renewed(self, known: KnownKey) -> KnownKey:
        """Return a key with what its user and their plan permit now; itself if that is the same."""
        caller = known.caller
        user = self.users.get(caller.user_id)
        # Nobody knows what a user may do who is not there: nothing then.
        is_barred = user is None or user.status is not UserStatus.ACTIVE
        grant = NO_USER if user is None else user.grant
        plan = NO_PLAN if user is None else self._plan_of(user)
        if known.is_barred is is_barred and caller.user == grant and caller.plan == plan:
            return known
        renewed = replace(caller, user=grant, plan=plan)
        return replace(known, caller=renewed, is_barred=is_barred)
