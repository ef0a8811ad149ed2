"""Keys of everybody: list, make, show, change, rotate, disable, revoke.

In: requests of operators. Out: keys without their secrets; a secret is in the answer that made it,
and nowhere else, not in the audit and not in the log. Who may do what with a key is policy's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.grant_shapes import (
    GRANT_FIELDS,
    CapsTold,
    KeyChangeGiven,
    KeyGiven,
    RatesTold,
    RotationGiven,
    told_caps,
    told_rates,
)
from groxy.admin.shapes import Success, Told
from groxy.admin.token_shapes import refused
from groxy.core.grants import ANY_KEY, Caps
from groxy.policy.bounds import read_name
from groxy.policy.outlays import Outlay, outlays_of
from groxy.store.key_pages import page_of_keys
from groxy.store.keys import (
    KeyRole,
    StoredKey,
    by_operator,
    create_key,
    find_key,
    revoke_key,
    rotate_key,
    update_key,
)
from groxy.store.users import find_user

AnId = Annotated[str, Query(max_length=64)]
PageSize = Annotated[int, Query(ge=1, le=500)]


class KeyTold(Told):
    """A key, without its secret."""

    id: str = Field(examples=["key_0123456789abcdef01234567"])
    name: str
    role: str = Field(examples=["caller"])
    user_id: str = Field(description="Empty: nobody's.")
    hint: str = Field(description="The secret's last characters.", examples=["x1Yz"])
    models: list[str]
    endpoints: list[str]
    ips: list[str]
    caps: CapsTold
    rates: RatesTold
    tags: list[str]
    is_provisioning: bool
    disabled: bool
    disabled_by: Literal["operator", "owner"] | None = Field(
        description="Only the operator ends what the operator began."
    )
    created_at: int
    expires_at: int | None
    disabled_at: int | None
    old_secret_until: int | None = Field(description="Until when the secret of before works.")
    spent: CapsTold = Field(description="Today, this week, this month (UTC), and in all.")
    left: CapsTold = Field(description="What each cap leaves.")


class KeyMade(Told):
    """A key and its secret, which is shown this once."""

    key: KeyTold
    secret: str = Field(description="It is not stored, and cannot be shown again.")


class KeyPage(Told):
    """Keys, in the order of their ids."""

    keys: list[KeyTold]
    has_more: bool
    next: str | None = Field(description="Send it as `after` for the page that follows.")


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /keys."""
    routes = APIRouter(tags=["keys"])
    _look(routes, desk)
    _make(routes, desk, auditor)
    _change(routes, desk, auditor)
    _switch(routes, desk, auditor)
    return routes


def _look(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/keys", summary="List keys, a page at a time")
    async def list_keys(
        user: Annotated[
            str | None, Query(max_length=64, description="A user's id; empty: nobody's keys.")
        ] = None,
        after: AnId = "",
        limit: PageSize = 50,
    ) -> KeyPage:
        return await key_page(desk, user, after, limit)

    @routes.get("/keys/{key_id}", summary="Show one key")
    async def get_key(key_id: str) -> KeyTold:
        return await _told_alone(desk, await find_key(desk.database, key_id))


def _make(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/keys", summary="Make a key")
    async def add_key(given: KeyGiven, actor: Actor) -> KeyMade:
        """Its secret is in this answer, and never again."""
        role = KeyRole(given.role)
        if role is KeyRole.OPERATOR:
            _refuse_bounds(given.model_fields_set & (GRANT_FIELDS | {"is_provisioning"}))
        secret, key = await create_key(
            desk.database,
            desk.secret,
            name=read_name(given.name),
            role=role,
            user_id=given.user_id,
            grant=given.read(ANY_KEY, is_provisioning=given.is_provisioning),
            expires_ms=_checked_expiry(desk, given.expires_at),
        )
        await desk.reload()
        await auditor.note(actor, "key.add", key.id, after=_audited(key))
        return KeyMade(key=await _told_alone(desk, key), secret=secret)

    @routes.post("/keys/{key_id}/rotate", summary="Give a key another secret")
    async def rotate(key_id: str, actor: Actor, given: RotationGiven | None = None) -> KeyMade:
        """The old one works on for `grace_s`."""
        grace_s = 0 if given is None else given.grace_s
        secret, key = await rotate_key(desk.database, desk.secret, key_id, grace_ms=grace_s * 1000)
        await desk.reload()
        await auditor.note(actor, "key.rotate", key.id, after={"grace_s": grace_s})
        return KeyMade(key=await _told_alone(desk, key), secret=secret)


def _change(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.patch("/keys/{key_id}", summary="Change a key")
    async def change_key(key_id: str, given: KeyChangeGiven, actor: Actor) -> KeyTold:
        """What is left out stays as it is; a list, `caps` and `rates` are replaced as a whole."""
        found = await find_key(desk.database, key_id)
        changes = _changes(desk, given, found.role)
        if not changes:
            return await _told_alone(desk, found)
        before, key = await update_key(desk.database, key_id, changes)
        await desk.reload()
        await auditor.note(
            actor, "key.change", key.id, before=_audited(before), after=_audited(key)
        )
        return await _told_alone(desk, key)

    @routes.delete("/keys/{key_id}", summary="Revoke a key for good")
    async def delete_key(key_id: str, actor: Actor) -> Success:
        before = await find_key(desk.database, key_id)
        await revoke_key(desk.database, before.id)
        await desk.reload()
        await auditor.note(actor, "key.revoke", before.id, before=_audited(before))
        return Success()


def _switch(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    async def switch(actor: Operator, key_id: str, *, disabled: bool) -> KeyTold:
        _, key = await update_key(desk.database, key_id, by_operator(disabled=disabled))
        await desk.reload()
        await auditor.note(actor, "key.disable" if disabled else "key.enable", key.id)
        return await _told_alone(desk, key)

    @routes.post("/keys/{key_id}/disable", summary="Let a key rest")
    async def disable(key_id: str, actor: Actor) -> KeyTold:
        return await switch(actor, key_id, disabled=True)

    @routes.post("/keys/{key_id}/enable", summary="Put a key in force again")
    async def enable(key_id: str, actor: Actor) -> KeyTold:
        return await switch(actor, key_id, disabled=False)


async def key_page(desk: Desk, user_id: str | None, after: str, limit: int) -> KeyPage:
    """Return a page of keys: of everybody, of one user, or (empty `user_id`) of nobody."""
    if user_id:
        await find_user(desk.database, user_id)
    keys = await page_of_keys(desk.database, user_id=user_id, after=after, limit=limit + 1)
    page = keys[:limit]
    has_more = len(keys) > limit
    return KeyPage(
        keys=await _told(desk, page), has_more=has_more, next=page[-1].id if has_more else None
    )


async def _told(desk: Desk, keys: Sequence[StoredKey]) -> list[KeyTold]:
    outlays = await outlays_of(desk.database, keys, _now_ms(desk))
    return [_key_told(key, outlays[key.id]) for key in keys]


async def _told_alone(desk: Desk, key: StoredKey) -> KeyTold:
    return (await _told(desk, [key]))[0]


def _key_told(key: StoredKey, outlay: Outlay) -> KeyTold:
    grant, spent = key.grant, outlay.spent
    return KeyTold(
        id=key.id,
        name=key.name,
        role=key.role.value,
        user_id=key.user_id,
        hint=key.hint,
        models=list(grant.models),
        endpoints=list(grant.endpoints),
        ips=list(grant.ips),
        caps=told_caps(grant.caps),
        rates=told_rates(grant.rates),
        tags=list(grant.tags),
        is_provisioning=grant.is_provisioning,
        disabled=key.rests_since_ms is not None,
        disabled_by=_disabled_by(key),
        created_at=key.created_ms,
        expires_at=key.expires_ms,
        disabled_at=key.rests_since_ms,
        old_secret_until=key.previous_until_ms,
        spent=told_caps(Caps(day=spent.day, week=spent.week, month=spent.month, total=spent.total)),
        left=told_caps(outlay.left),
    )


def _disabled_by(key: StoredKey) -> Literal["operator", "owner"] | None:
    if key.suspended_ms is not None:
        return "operator"
    return None if key.disabled_ms is None else "owner"


def _changes(desk: Desk, given: KeyChangeGiven, role: KeyRole) -> dict[str, object]:
    sent = given.model_fields_set
    changes: dict[str, object] = {}
    if "name" in sent:
        changes["name"] = read_name(given.name)
    if "expires_at" in sent:
        changes["expires_ms"] = _checked_expiry(desk, given.expires_at)
    if "disabled" in sent:
        changes |= by_operator(disabled=given.disabled)
    if sent & GRANT_FIELDS:
        if role is KeyRole.OPERATOR:
            _refuse_bounds(sent & GRANT_FIELDS)
        changes["grant"] = given.read
    return changes


def _refuse_bounds(names: set[str] | frozenset[str]) -> None:
    for name in sorted(names):
        message = f"`{name}` cannot be set of an operator's key: it opens this API as a whole."
        raise refused(message, param=name)


def _checked_expiry(desk: Desk, at_ms: int | None) -> int | None:
    if at_ms is not None and at_ms <= _now_ms(desk):
        message = "`expires_at` must be in the future, in unix milliseconds."
        raise refused(message, param="expires_at")
    return at_ms


def _audited(key: StoredKey) -> Mapping[str, Any]:
    """Return what the audit keeps of a key: nothing that its secret could be told from."""
    told = _key_told(replace(key, hint=""), Outlay()).model_dump(exclude={"spent", "left", "hint"})
    del told["id"]
    return told


def _now_ms(desk: Desk) -> int:
    return int(desk.directory.now() * 1000)
