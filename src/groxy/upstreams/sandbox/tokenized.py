"""Tokenizing as xAI answers it: a text in, its tokens out, each with its id, text and bytes.

The vocabulary is not Grok's own, which is not public, so the numbers are only alike. Must not read
a text so long that the reply would not fit anywhere.
"""

from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.core.request import Message, Request, Role
from groxy.wire.json import decode_request, encode

_MAX_CHARS = 1_000_000


class Tokenizer(Protocol):
    """Splits text; `wire.tokens.SplintrCounter` is one."""

    def tokens(self, text: str) -> list[tuple[int, bytes]]:
        """Return the id and the bytes of each token."""
        ...


class _Body(msgspec.Struct):
    text: str
    model: Annotated[str, Meta(min_length=1, max_length=256)]


class _Token(msgspec.Struct):
    token_id: int
    string_token: str
    token_bytes: list[int]


_decoder = msgspec.json.Decoder(_Body)


def tokenize_request(body: bytes) -> Request:
    """Return a request of xAI's `/v1/tokenize-text` as one message, for the script in its text."""
    read = decode_request(body, _decoder)
    if len(read.text) > _MAX_CHARS:
        message = f"`text` is longer than {_MAX_CHARS} characters. Send it in pieces."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="text")
    spoken = Message(role=Role.USER, parts=(Text(text=read.text),))
    return Request(model=read.model, messages=(spoken,))


def tokenized(request: Request, tokenizer: Tokenizer) -> bytes:
    """Return the reply: the tokens of the request's text."""
    written: dict[int, _Token] = {}
    listed: list[_Token] = []
    for number, held in tokenizer.tokens(request.text):
        if number not in written:
            text = held.decode(errors="replace")
            written[number] = _Token(token_id=number, string_token=text, token_bytes=list(held))
        listed.append(written[number])
    return encode({"token_ids": listed})
