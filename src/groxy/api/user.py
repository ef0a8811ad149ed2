"""GET and PATCH /v1/user: who is logged in, and the few things that they may change themselves.

In: a session. Out: the user as they may see themselves. Role, plan, balance and limits are the
operator's: here they are unknown fields.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from groxy.api.attempts import claim_attempt
from groxy.api.bodies import Shape
from groxy.api.owners import Registry, Session
from groxy.api.replies import respond_unstored
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.moments import moment_text
from groxy.store.ledger import balances_of, user_side
from groxy.store.sessions import while_logged_in, wrong_password
from groxy.store.users import Checked, User, check_password, update_user
from groxy.wire.asgi import Receive, Scope, Send
from groxy.wire.json import encode


class _Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    old_password: str | UnsetType = UNSET


_CHANGE = Shape(_Change)


class OwnUser:
    """The user who is logged in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def get(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        session = await self._registry.session(scope)
        await respond_unstored(send, encode(await told_user(self._registry, session.user)))

    async def patch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a new password ends every other session."""
        registry = self._registry
        session = await registry.session(scope)
        given = await _CHANGE.read(scope, receive)
        changes = {
            name: value
            for name in ("name", "email", "password")
            if (value := getattr(given, name)) is not UNSET
        }
        if given.email is not UNSET:
            # It tells whether another user has the address: nobody shall try a list of them.
            await claim_attempt(registry, scope, session.user.id)
        checked = None
        if given.password is not UNSET:
            checked = await self._checked_old(scope, session, given)
        user = session.user
        if changes:
            own = session.digest
            guard = while_logged_in(own, checked)
            _, user = await update_user(registry.database, user.id, changes, but=own, guard=guard)
            await registry.reload()
        await respond_unstored(send, encode(await told_user(registry, user)))

    async def _checked_old(self, scope: Scope, session: Session, given: _Change) -> Checked:
        """Return the old password; raise unless it is there and right.

        Whoever found a session has not got it. Attempts count as those to log in do.
        """
        if not given.password:
            message = "`password` must not be empty."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="password")
        if not isinstance(given.old_password, str):
            message = "`old_password` is required to set another `password`."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="old_password")
        email = session.user.email or ""
        await claim_attempt(self._registry, scope, email or session.user.id)
        checked = await check_password(self._registry.database, email, given.old_password)
        if checked is None or checked.user.id != session.user.id:
            raise wrong_password()
        return checked


async def told_user(registry: Registry, user: User) -> dict[str, Any]:
    """Return a user as they may see themselves; amounts are US dollars as text."""
    side = user_side(user.id)
    ticks, _ = (await balances_of(registry.database, [side]))[side]
    plan = await registry.plan_of(user)
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "role": user.role.value,
        "status": user.status.value,
        "plan": None if plan is None else {"id": plan.id, "name": plan.name},
        "balance": usd_text(ticks),
        "created_at": moment_text(user.created_ms),
    }
