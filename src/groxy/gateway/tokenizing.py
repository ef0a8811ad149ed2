"""Tokenizing: exactly where an account's upstream tells its tokens, else by a local estimate.

In: a text and a model. Out: the tokens, and whether they are an estimate. An upstream that does not
answer costs nothing but the exactness: no account is held to blame, and no failure is passed on.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from groxy.core.errors import GroxyError
from groxy.routing.router import Candidate, Router, Wanted
from groxy.wire.http import Outgoing
from groxy.wire.json import encode

_TIMEOUT_S = 5.0
_MAX_REPLY_BYTES = 64 * 1024 * 1024
_OK_STATUS = 200
_LONG_CHARS = 20_000


class Token(msgspec.Struct):
    """One token, in xAI's shape; the bytes may be a part of a character."""

    token_id: int
    string_token: str
    token_bytes: list[int]


class Tokens(msgspec.Struct):
    """A text, token by token."""

    token_ids: list[Token]
    estimated: bool = False


class Splitter(Protocol):
    """Splits text by a local vocabulary; `wire.tokens.SplintrCounter` is one."""

    def tokens(self, text: str) -> list[tuple[int, bytes]]:
        """Return id and bytes of each token."""
        ...


_decoder = msgspec.json.Decoder(Tokens)
_CARRIERS = ("chat", "responses", "completions", "messages")


class Tokenizer:
    """Tokenizes texts."""

    def __init__(self, router: Router, splitter: Splitter) -> None:
        self._router = router
        self._splitter = splitter

    async def tokenize(self, text: str, model: str) -> Tokens:
        """Return the tokens of `text`; raise what stands against `model`, if anything does."""
        plan = self._router.plan(Wanted(model=model, carriers=_CARRIERS))
        for candidate in plan.candidates:
            if candidate.account.upstream.tokenize_path:
                found = await _asked(candidate, text)
                if found is not None:
                    return found
                break
        if len(text) < _LONG_CHARS:
            return self._estimated(text)
        # Half a second for a million characters: others shall have their turn meanwhile.
        return await asyncio.to_thread(self._estimated, text)

    def _estimated(self, text: str) -> Tokens:
        return Tokens(_as_tokens(self._splitter.tokens(text)), estimated=True)


async def _asked(candidate: Candidate, text: str) -> Tokens | None:
    """Return an upstream's own tokens; None when it does not tell them."""
    account = candidate.account
    upstream = account.upstream
    outgoing = Outgoing(
        url=upstream.address(account.credentials) + upstream.tokenize_path,
        headers={"Content-Type": "application/json"} | account.headers,
        body=encode({"model": candidate.model_sent, "text": text}),
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reply = await account.transport.send(outgoing)
            try:
                body = await reply.read(_MAX_REPLY_BYTES)
            finally:
                reply.close()
        return _decoder.decode(body) if reply.status == _OK_STATUS else None
    except (GroxyError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _as_tokens(pieces: Sequence[tuple[int, bytes]]) -> list[Token]:
    return [Token(number, piece.decode(errors="replace"), list(piece)) for number, piece in pieces]
