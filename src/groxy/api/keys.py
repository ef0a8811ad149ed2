"""/v1/keys: the keys of a user, for the user who is logged in and for provisioning keys.

In: requests in OpenRouter's shape. Out: keys without their secrets; a secret is in the answer that
made it and nowhere else. Whoever asks sees and changes keys of the same user only: any other is
NOT_FOUND, as one that never was. A provisioning key has no business with keys of its own kind.
"""

import time
from functools import partial

from msgspec import UNSET

from groxy.api.attempts import claim_change
from groxy.api.bodies import Shape
from groxy.api.key_shapes import KeyChange, NewKey, Rotation, read_expiry, read_grant, told_key
from groxy.api.owners import Owner, Registry
from groxy.api.replies import respond_unstored
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import KeyGrant
from groxy.policy.bounds import read_count, read_name
from groxy.policy.outlays import Outlay, outlays_of
from groxy.store.key_pages import newest_keys
from groxy.store.keys import (
    MAX_GRACE_MS,
    KeyRole,
    StoredKey,
    create_key,
    find_key,
    revoke_key,
    rotate_key,
    update_key,
)
from groxy.wire.asgi import Receive, Scope, Send, query_of
from groxy.wire.json import encode

_PAGE = 100
"""Keys in one answer, as at OpenRouter."""
_MOST_OFFSET = 1_000_000
_NEW, _CHANGE, _ROTATION = Shape(NewKey), Shape(KeyChange), Shape(Rotation)
_TRUTHS = {"": False, "false": False, "0": False, "true": True, "1": True}


class OwnKeys:
    """The endpoints below /keys."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with at most 100 keys, newest first; `offset` leaves out the first ones."""
        del receive
        owner = await self._registry.owner(scope)
        query = query_of(scope)
        offset = query.get("offset", "0").encode()
        keys = await newest_keys(
            self._registry.database,
            owner.user_id,
            offset=read_count(offset, "offset", most=_MOST_OFFSET),
            limit=_PAGE,
            include_disabled=_read_truth(query, "include_disabled"),
            include_provisioning=owner.is_session,
        )
        outlays = await outlays_of(self._registry.database, keys, _now_ms())
        told = [told_key(key, outlays[key.id]) for key in keys]
        await respond_unstored(send, encode({"data": told}))

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make a key; its secret is in this answer, and never again."""
        registry = self._registry
        owner = await self._changer(scope)
        given = await _NEW.read(scope, receive)
        if given.is_provisioning and not owner.is_session:
            message = "A provisioning key cannot make another one. Log in, or ask the operator."
            raise GroxyError(
                ErrorKind.FORBIDDEN, message, param="is_provisioning", code="key_scope"
            )
        before = KeyGrant(is_provisioning=given.is_provisioning)
        expires_at = None if given.expires_at is UNSET else given.expires_at
        secret, key = await create_key(
            registry.database,
            registry.secret,
            name=read_name(given.name),
            role=KeyRole.CALLER,
            user_id=owner.user_id,
            grant=read_grant(given, before, owner.plan.key_rates),
            expires_ms=read_expiry(expires_at, _now_ms()),
        )
        await registry.reload()
        body = {"data": told_key(key, Outlay(left=key.grant.caps)), "key": secret}
        await respond_unstored(send, encode(body), status=201)

    async def get(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with one key."""
        del receive
        owner = await self._registry.owner(scope)
        await self._tell(send, await self._find(scope, owner))

    async def change(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Change a key; what is left out stays as it is."""
        registry = self._registry
        owner = await self._changer(scope)
        given = await _CHANGE.read(scope, receive)
        key = await self._find(scope, owner)
        grant_from = partial(read_grant, given, plan_rates=owner.plan.key_rates)
        changes: dict[str, object] = {}
        if given.name is not UNSET:
            changes["name"] = read_name(given.name)
        if given.disabled is not UNSET:
            if key.suspended_ms is not None and not given.disabled:
                raise _suspended()
            changes["disabled"] = given.disabled
        if given.expires_at is not UNSET:
            changes["expires_ms"] = read_expiry(given.expires_at, _now_ms())
        if grant_from(key.grant) != key.grant:
            changes["grant"] = grant_from
        if changes:
            _, key = await update_key(registry.database, key.id, changes, user_id=owner.user_id)
        await registry.reload()
        await self._tell(send, key)

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Revoke a key for good."""
        del receive
        owner = await self._changer(scope)
        key = await self._find(scope, owner)
        await revoke_key(self._registry.database, key.id, user_id=owner.user_id)
        await self._registry.reload()
        await respond_unstored(send, encode({"deleted": True}))

    async def rotate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a key another secret; the old one works on for `grace_s`."""
        registry = self._registry
        owner = await self._changer(scope)
        given = await _ROTATION.read(scope, receive, may_be_empty=True)
        grace_s = 0
        if given.grace_s is not UNSET:
            grace_s = read_count(bytes(given.grace_s), "grace_s", most=MAX_GRACE_MS // 1000)
        key = await self._find(scope, owner)
        secret, key = await rotate_key(
            registry.database,
            registry.secret,
            key.id,
            grace_ms=grace_s * 1000,
            user_id=owner.user_id,
        )
        await registry.reload()
        outlays = await outlays_of(registry.database, [key], _now_ms())
        body = {"data": told_key(key, outlays[key.id]), "key": secret}
        await respond_unstored(send, encode(body))

    async def _changer(self, scope: Scope) -> Owner:
        owner = await self._registry.owner(scope)
        await claim_change(self._registry, owner.user_id)
        return owner

    async def _find(self, scope: Scope, owner: Owner) -> StoredKey:
        key_id: str = scope["path_params"]["hash"]
        try:
            key = await find_key(self._registry.database, key_id, user_id=owner.user_id)
        except GroxyError as error:
            raise (_no_such_key() if error.kind is ErrorKind.NOT_FOUND else error) from None
        is_hidden = key.grant.is_provisioning and not owner.is_session
        # An operator's key has no user, as those have that a provisioning key of nobody makes.
        if key.role is not KeyRole.CALLER or is_hidden:
            raise _no_such_key()
        return key

    async def _tell(self, send: Send, key: StoredKey) -> None:
        outlays = await outlays_of(self._registry.database, [key], _now_ms())
        await respond_unstored(send, encode({"data": told_key(key, outlays[key.id])}))


def _no_such_key() -> GroxyError:
    message = "There is no such key. GET /v1/keys lists them; the id is `hash`."
    return GroxyError(ErrorKind.NOT_FOUND, message, param="hash", code="key_not_found")


def _suspended() -> GroxyError:
    message = "The operator disabled this key, and only they can enable it. Ask them."
    return GroxyError(ErrorKind.FORBIDDEN, message, param="disabled", code="key_suspended")


def _read_truth(query: dict[str, str], name: str) -> bool:
    text = query.get(name, "").lower()
    if text not in _TRUTHS:
        message = f"`{name}` must be true or false."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name)
    return _TRUTHS[text]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
