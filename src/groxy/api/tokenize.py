"""POST /v1/tokenize, and /v1/tokenize-text as xAI calls it: a text token by token.

In: `{"text", "model"?}`. Out: xAI's `{"token_ids":[{token_id, string_token, token_bytes}]}`, with
`token_count`, the model asked for and, for a local estimate, `"estimated": true`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.tokenizing import Tokenizer
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, read_body, respond
from groxy.wire.json import decode_request, encode

_MAX_CHARS = 1_000_000
_USUAL_MODEL = "grok-4"


class _Ask(msgspec.Struct):
    text: Annotated[str, Meta(max_length=_MAX_CHARS)] | None = None
    input: Annotated[str, Meta(max_length=_MAX_CHARS)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] = _USUAL_MODEL


_decoder = msgspec.json.Decoder(_Ask)


class TokenizeEndpoint:
    """Tokenizes; costs nothing and is in no books."""

    def __init__(self, keyring: Keyring, tokenizer: Tokenizer, *, max_body_bytes: int) -> None:
        self._keyring = keyring
        self._tokenizer = tokenizer
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        identify(self._keyring, scope)
        ask = decode_request(await read_body(scope, receive, limit=self._max_body_bytes), _decoder)
        text = ask.text if ask.text is not None else ask.input
        if text is None:
            raise GroxyError(ErrorKind.BAD_REQUEST, "`text` is required.", param="text")
        tokens = await self._tokenizer.tokenize(text, ask.model)
        written = {
            "model": ask.model,
            "token_count": len(tokens.token_ids),
            "token_ids": tokens.token_ids,
        }
        if tokens.estimated:
            written["estimated"] = True
        await respond(send, 200, encode(written))
