"""GET /admin/api/verify: whether an admin key is right. `?app_key=` works as well as Bearer."""

from urllib.parse import parse_qs

from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, header, respond


class Verify:
    """The endpoint."""

    def __init__(self, operators: Keyring) -> None:
        self._operators = operators

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        in_query = query.get("app_key", [None])[0]
        authorization = header(scope, b"authorization")
        if authorization is None and in_query is not None:
            authorization = f"Bearer {in_query}"
        self._operators.identify(authorization, header(scope, b"x-api-key"))
        await respond(send, 200, b'{"status":"success"}')
