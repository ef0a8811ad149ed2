"""POST /v1/quote?endpoint=chat: what a request would hold and cost, by the code that bills it.

In: the body of the request itself. Out: tokens, prices, the hold, and whether it would pass now.
`endpoint` is `chat` if it is left out. Nothing is sent upstream, held, counted or charged.
"""

from groxy.api.text import identify
from groxy.gateway.quoting import Quoter
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, query_of, read_body, respond
from groxy.wire.json import encode

_USUAL = "chat"
_MAX_NAME_CHARS = 64


class QuoteEndpoint:
    """Answers with quotes."""

    def __init__(self, keyring: Keyring, quoter: Quoter, *, max_body_bytes: int) -> None:
        self._keyring = keyring
        self._quoter = quoter
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = identify(self._keyring, scope)
        endpoint = query_of(scope).get("endpoint", _USUAL)[:_MAX_NAME_CHARS]
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        quote = await self._quoter.quote(caller, endpoint, body)
        await respond(send, 200, encode({"object": "quote", "endpoint": endpoint, **quote}))
