"""Users: list, make, show, change, disable, give a password, log out.

In: requests of operators. Out: users with their balance. A password goes in and never out: it is in
no answer, audit entry or log line. A user is never deleted, because the books name them for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.grant_shapes import (
    TERMS_FIELDS,
    PasswordGiven,
    RatesTold,
    UserChangeGiven,
    UserGiven,
    told_rates,
)
from groxy.admin.keys import AnId, KeyPage, PageSize, key_page
from groxy.admin.shapes import Success, Told
from groxy.admin.token_shapes import refused
from groxy.core.amounts import usd_text
from groxy.core.grants import NO_USER
from groxy.store.ledger import balances_of, user_side
from groxy.store.sessions import close_sessions_of
from groxy.store.users import (
    User,
    UserRole,
    UserStatus,
    create_user,
    find_user,
    list_users,
    update_user,
)


class UserTold(Told):
    """A user."""

    id: str = Field(examples=["usr_0123456789abcdef01234567"])
    name: str
    email: str | None
    role: str = Field(examples=["user"])
    status: str = Field(examples=["active"])
    plan_id: str = Field(description="Empty: the default plan.")
    balance: str = Field(description="US dollars.", examples=["12.5"])
    rates: RatesTold | None = Field(description="Null: those of the plan.")
    overdraft: str = Field(description="US dollars.", examples=["0"])
    alert_below: str | None
    note: str
    has_password: bool
    created_at: int


class UserPage(Told):
    """Users, in the order of their ids."""

    users: list[UserTold]
    has_more: bool
    next: str | None = Field(description="Send it as `after` for the page that follows.")


class SessionsEnded(Told):
    """How many sessions were ended."""

    status: str = Field(default="success", examples=["success"])
    ended: int


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /users."""
    routes = APIRouter(tags=["users"])
    _look(routes, desk)
    _change(routes, desk, auditor)
    _log_out(routes, desk, auditor)
    return routes


def _look(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/users", summary="List users, a page at a time")
    async def get_users(
        search: Annotated[
            str, Query(max_length=256, description="A part of name, e-mail or id.")
        ] = "",
        after: AnId = "",
        limit: PageSize = 50,
    ) -> UserPage:
        users = await list_users(desk.database, after=after, limit=limit + 1, search=search)
        page = users[:limit]
        has_more = len(users) > limit
        return UserPage(
            users=await _told(desk, page),
            has_more=has_more,
            next=page[-1].id if has_more else None,
        )

    @routes.get("/users/{user_id}", summary="Show one user")
    async def get_user(user_id: str) -> UserTold:
        return await _told_alone(desk, await find_user(desk.database, user_id))

    @routes.get("/users/{user_id}/keys", summary="List a user's keys")
    async def get_keys(user_id: str, after: AnId = "", limit: PageSize = 50) -> KeyPage:
        return await key_page(desk, user_id, after, limit)


def _change(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/users", summary="Make a user")
    async def add_user(given: UserGiven, actor: Actor) -> UserTold:
        user = await create_user(
            desk.database,
            name=given.name,
            email=given.email,
            role=UserRole(given.role),
            plan_id=given.plan_id,
            grant=given.read(NO_USER),
            password=given.password,
        )
        await desk.reload()
        await auditor.note(actor, "user.add", user.id, after=_audited(user))
        return await _told_alone(desk, user)

    @routes.patch("/users/{user_id}", summary="Change a user")
    async def change_user(user_id: str, given: UserChangeGiven, actor: Actor) -> UserTold:
        """What is left out stays as it is; `rates` are replaced as a whole."""
        changes = _changes(given)
        if not changes:
            return await _told_alone(desk, await find_user(desk.database, user_id))
        before, user = await update_user(desk.database, user_id, changes)
        await desk.reload()
        await auditor.note(
            actor, "user.change", user.id, before=_audited(before), after=_audited(user)
        )
        return await _told_alone(desk, user)


def _log_out(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.delete("/users/{user_id}", summary="Disable a user")
    async def disable_user(user_id: str, actor: Actor) -> UserTold:
        """They are logged out and their keys do not work; the books go on naming them.

        PATCH with `status: active` takes it back.
        """
        changes = {"status": UserStatus.DISABLED}
        before, user = await update_user(desk.database, user_id, changes)
        await desk.reload()
        after = {"status": user.status.value}
        await auditor.note(
            actor, "user.disable", user.id, before={"status": before.status.value}, after=after
        )
        return await _told_alone(desk, user)

    @routes.post("/users/{user_id}/password", summary="Give a user another password")
    async def set_password(user_id: str, given: PasswordGiven, actor: Actor) -> Success:
        """Every session of the user ends."""
        if not given.password:
            raise refused("`password` must not be empty.", param="password")
        _, user = await update_user(desk.database, user_id, {"password": given.password})
        await auditor.note(actor, "user.password", user.id)
        return Success()

    @routes.post("/users/{user_id}/sessions/end", summary="Log a user out everywhere")
    async def end_sessions(user_id: str, actor: Actor) -> SessionsEnded:
        user = await find_user(desk.database, user_id)
        ended = await close_sessions_of(desk.database, desk.secret, user.id)
        await auditor.note(actor, "user.end_sessions", user.id, after={"ended": ended})
        return SessionsEnded(ended=ended)


async def _told(desk: Desk, users: Sequence[User]) -> list[UserTold]:
    sides = [user_side(user.id) for user in users]
    balances = await balances_of(desk.database, sides) if sides else {}
    return [_user_told(user, balances[user_side(user.id)][0]) for user in users]


async def _told_alone(desk: Desk, user: User) -> UserTold:
    return (await _told(desk, [user]))[0]


def _user_told(user: User, balance_ticks: int) -> UserTold:
    grant = user.grant
    return UserTold(
        id=user.id,
        name=user.name,
        email=user.email,
        role=user.role.value,
        status=user.status.value,
        plan_id=user.plan_id,
        balance=usd_text(balance_ticks),
        rates=None if grant.rates is None else told_rates(grant.rates),
        overdraft=usd_text(grant.overdraft),
        alert_below=None if grant.alert_below is None else usd_text(grant.alert_below),
        note=grant.note,
        has_password=user.has_password,
        created_at=user.created_ms,
    )


def _changes(given: UserChangeGiven) -> dict[str, object]:
    sent = given.model_fields_set
    changes: dict[str, object] = {
        name: getattr(given, name) for name in ("name", "email", "plan_id") if name in sent
    }
    if "role" in sent:
        changes["role"] = UserRole(given.role)
    if "status" in sent:
        changes["status"] = UserStatus(given.status)
    if sent & TERMS_FIELDS:
        changes["grant"] = given.read
    return changes


def _audited(user: User) -> Mapping[str, Any]:
    """Return what the audit keeps of a user; the books have the balance."""
    return _user_told(user, 0).model_dump(exclude={"id", "balance"})
