"""Who may use the admin API: operators by their key, and users of the role admin who are logged in.

In: a request. Out: the same, with who asks in its scope, or BAD_KEY; FORBIDDEN for a user of
another role, and for what another site may have made a browser send (`policy.sessions`). A key in
the address (`?app_key=`) is taken out of the scope before anything else reads it, so that no log
line, error or audit entry can have it. Nothing below is reached without a key or a session, but by
a command of this very process: see `vouch`.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Depends
from starlette.requests import Request

from groxy.admin.desk import Desk
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.sessions import keys_in_headers, presented_session
from groxy.store.sessions import no_session, session_user
from groxy.store.users import UserRole
from groxy.wire.asgi import ASK_AGAIN, AsgiApp, Receive, Scope, Send

_IN_SCOPE = "groxy.operator"
_QUERY_KEY = "app_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who asks, and in which request: the actor of an audit entry."""

    key_id: str
    name: str
    request_id: str = ""


COMMAND_LINE = Operator(key_id="command-line", name="command line")
"""Whoever may read the data folder: `groxy account` needs no key where it needs no network."""


def vouch(scope: Scope) -> None:
    """Let a request through whose scope was made in this process, for `COMMAND_LINE`.

    That cannot be done over the network: clients choose bytes in places of their own (path, query,
    headers, body), and no server makes an `Operator` of any.
    """
    scope[_IN_SCOPE] = COMMAND_LINE


def operator_of(request: Request) -> Operator:
    """Return who asks; `Access` has put it there."""
    operator: Operator = request.scope[_IN_SCOPE]
    return operator


Actor = Annotated[Operator, Depends(operator_of)]
"""An endpoint's parameter `actor: Actor` is who asks."""


class Access:
    """Lets operators through to the admin API, and nobody else."""

    def __init__(self, desk: Desk, app: AsgiApp) -> None:
        self._desk = desk
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; raise BAD_KEY or FORBIDDEN for any but an operator's."""
        in_query = _take_from_query(scope)
        if scope.get(_IN_SCOPE) is COMMAND_LINE:
            request_id = scope.get("groxy.request_id", "")
            scope[_IN_SCOPE] = replace(COMMAND_LINE, request_id=request_id)
        else:
            scope[_IN_SCOPE] = await self._who(scope, in_query)
            scope[ASK_AGAIN] = partial(self._who, in_query=in_query)
        await self._app(scope, receive, send)

    async def _who(self, scope: Scope, in_query: list[str]) -> Operator:
        token = None if in_query else presented_session(scope)
        return self._identify(scope, in_query) if token is None else await self._user(scope, token)

    async def _user(self, scope: Scope, token: str) -> Operator:
        user = await session_user(self._desk.database, self._desk.secret, token)
        if user is None:
            raise no_session()
        if user.role is not UserRole.ADMIN:
            message = "This is for operators: your user has not the role admin."
            raise GroxyError(ErrorKind.FORBIDDEN, message)
        return Operator(
            key_id=user.id, name=user.name, request_id=scope.get("groxy.request_id", "")
        )

    def _identify(self, scope: Scope, in_query: list[str]) -> Operator:
        keys = [*keys_in_headers(scope)]
        if self._desk.takes_key_in_query():
            keys += in_query
        elif in_query and not keys:
            message = (
                "The key is not taken from the address here (setting admin.query_key is off). "
                "Send `Authorization: Bearer <key>`."
            )
            raise GroxyError(ErrorKind.BAD_KEY, message)
        if len(set(keys)) > 1:
            raise GroxyError(ErrorKind.BAD_KEY, "Two different keys were sent. Send one of them.")
        caller = self._desk.operators.identify(None, keys[0] if keys else None)
        return Operator(
            key_id=caller.key_id, name=caller.name, request_id=scope.get("groxy.request_id", "")
        )


def _take_from_query(scope: Scope) -> list[str]:
    """Return the keys in the address, and leave an address without them in the scope.

    What else is in it stays as it came, byte for byte.
    """
    query: bytes = scope.get("query_string", b"")
    keys: list[str] = []
    rest: list[bytes] = []
    for part in query.split(b"&"):
        name, _, value = part.decode("latin-1").partition("=")
        if unquote_plus(name) == _QUERY_KEY:
            keys.append(unquote_plus(value).strip())
        else:
            rest.append(part)
    if keys:
        scope["query_string"] = b"&".join(rest)
    return [key for key in keys if key]
