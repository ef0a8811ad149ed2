"""Who acts for a user: somebody who is logged in, or a provisioning key.

In: a request. Out: the owner of what it may look at and change, or BAD_KEY or FORBIDDEN. It gives
nobody more than the user has.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import NO_PLAN, PlanGrant
from groxy.policy.keys import Keyring
from groxy.policy.sessions import presented_session
from groxy.state.gates import Claim, Verdict
from groxy.store.database import Database
from groxy.store.plans import StoredPlan, list_plans
from groxy.store.secrets import InstallationSecret
from groxy.store.sessions import no_session, session_user
from groxy.store.users import User
from groxy.wire.asgi import ASK_AGAIN, Scope


async def nothing_to_load() -> None:
    """Wait for nothing: what was written is in force within a second anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What endpoints for users work with."""

    keyring: Keyring
    database: Database
    secret: InstallationSecret
    ask: Callable[[Claim], Awaitable[Verdict]]
    """Asks the gate."""
    app_url: Callable[[], str]
    """Where browsers find us; empty when nobody said."""
    reload: Callable[[], Awaitable[None]] = nothing_to_load
    """Puts in force here, at once, what was just written to the store."""

    async def session(self, scope: Scope) -> "Session":
        """Return who is logged in; raise BAD_KEY, or FORBIDDEN (`csrf_refused`)."""
        scope[ASK_AGAIN] = self.session
        token = presented_session(scope, self.app_url())
        if token is None:
            message = (
                "Nobody is logged in. Send `Authorization: Bearer ses_…` with the token that "
                "POST /v1/auth/login gave."
            )
            raise GroxyError(ErrorKind.BAD_KEY, message, code="invalid_session")
        user = await session_user(self.database, self.secret, token)
        if user is None:
            raise no_session()
        return Session(user=user, digest=self.secret.digest(token))

    async def owner(self, scope: Scope) -> "Owner":
        """Return for whom keys are looked at and changed.

        Raises BAD_KEY, or FORBIDDEN: `csrf_refused`, or `key_scope` for any other key.
        """
        if presented_session(scope, self.app_url()) is not None:
            user = (await self.session(scope)).user
            plan = await self.plan_of(user)
            grant = NO_PLAN.grant if plan is None else plan.grant
            scope[ASK_AGAIN] = self.owner
            return Owner(user_id=user.id, plan=grant, is_session=True)
        caller = identify(self.keyring, scope)
        scope[ASK_AGAIN] = self.owner
        if not caller.grant.is_provisioning:
            message = "This needs a provisioning key, or somebody who is logged in."
            raise GroxyError(ErrorKind.FORBIDDEN, message, code="key_scope")
        return Owner(user_id=caller.user_id, plan=caller.plan.grant, is_session=False)

    async def plan_of(self, user: User) -> StoredPlan | None:
        """Return a user's plan: their own, or the default one; None when there is neither."""
        plans = await list_plans(self.database)
        own = [plan for plan in plans if user.plan_id and plan.id == user.plan_id]
        return next(iter(own or [plan for plan in plans if plan.is_default]), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is logged in."""

    user: User
    digest: bytes
    """What the session's token is known by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose keys are meant."""

    user_id: str
    """Empty: those that belong to nobody, for a provisioning key that belongs to nobody."""
    plan: PlanGrant
    is_session: bool
    """False for a provisioning key, which never sees or makes one of its own kind."""
