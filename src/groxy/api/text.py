"""Endpoints that produce text. The path names the dialect; everything else is the gateway's."""

from groxy.dialects._base import Dialect
from groxy.gateway import Call, Gateway
from groxy.policy.keys import Caller, Keyring
from groxy.wire.asgi import AsgiClient, Receive, Scope, Send, header, read_body

_CONVERSATION = frozenset({b"x-grok-conv-id", b"x-session-id"})
_TITLE = frozenset({b"x-title", b"x-openrouter-title"})
_URL = b"http-referer"
_MAX_HINT_CHARS = 256


def identify(keyring: Keyring, scope: Scope) -> Caller:
    """Return who asks; raise BAD_KEY."""
    return keyring.identify(header(scope, b"authorization"), header(scope, b"x-api-key"))


def call_of(scope: Scope, dialect: Dialect, caller: Caller, body: bytes) -> Call:
    """Return a request as the gateway takes it, with what its headers tell."""
    hints = {"conversation": "", "app_title": "", "app_url": ""}
    for name, value in scope["headers"]:
        if name in _CONVERSATION:
            hints["conversation"] = _hint(value)
        elif name in _TITLE:
            hints["app_title"] = _hint(value)
        elif name == _URL:
            hints["app_url"] = _hint(value)
    return Call(
        request_id=scope["groxy.request_id"], dialect=dialect, caller=caller, body=body, **hints
    )


def _hint(value: bytes) -> str:
    return value.decode("latin-1")[:_MAX_HINT_CHARS]


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
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        call = call_of(scope, self._dialect, caller, body)
        await self._gateway.answer(call, AsgiClient(receive, send))
