"""POST /v1/messages/count_tokens: what a request would take, by a local estimate."""

from groxy.api.text import identify
from groxy.core.tokens import TokenCounter, input_tokens
from groxy.dialects.messages import DIALECT
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, read_body, respond
from groxy.wire.json import encode


class CountTokens:
    """Counts system text, messages, tools, pictures and documents; asks no upstream."""

    def __init__(self, keyring: Keyring, counter: TokenCounter, *, max_body_bytes: int) -> None:
        self._keyring = keyring
        self._counter = counter
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        asked = DIALECT.decode_count_request(body)
        count = input_tokens(DIALECT.canonical(asked), self._counter)
        await respond(send, 200, encode({"input_tokens": count}))
