"""Endpoints that produce text. The path names the dialect; everything else is the gateway's."""

from groxy.dialects._base import Dialect
from groxy.gateway import Call, Gateway
from groxy.policy.keys import Keyring
from groxy.wire.asgi import AsgiClient, Receive, Scope, Send, header, read_body


class TextEndpoint:
    """POST in one dialect."""

    def __init__(
        self, gateway: Gateway, keyring: Keyring, dialect: Dialect, *, max_body_bytes: int
    ) -> None:
        self._gateway = gateway
        self._keyring = keyring
        self._dialect = dialect
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: who asks comes first, so that strangers cannot make us read much."""
        caller = self._keyring.identify(
            header(scope, b"authorization"), header(scope, b"x-api-key")
        )
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        call = Call(
            request_id=scope["groxy.request_id"],
            dialect=self._dialect,
            caller=caller,
            body=body,
        )
        await self._gateway.answer(call, AsgiClient(receive, send))
