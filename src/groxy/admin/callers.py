"""Callers as an operator names them: by a key's id, or by the key, which is never echoed."""

from groxy.admin.desk import Desk
from groxy.core.errors import GroxyError
from groxy.policy.keys import ANYONE, Caller
from groxy.store.keys import list_keys


async def find_caller(desk: Desk, key: str) -> Caller | None:
    """Return the caller that a key or a stored key's id means; None when there is no such."""
    try:
        caller = desk.callers.identify(None, key)
    except GroxyError:
        caller = ANYONE
    if caller is not ANYONE:
        return caller
    named = desk.callers.named(key)
    if named is not None:
        return named
    stored = [one for one in await list_keys(desk.database) if one.id == key]
    return Caller(key_id=key, name=stored[0].name) if stored else None
