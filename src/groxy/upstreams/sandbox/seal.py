"""Sealed thoughts: what the sandbox gives instead of encrypted ones, and knows again later.

In: what a token is to stand for, or a request that brings tokens back. Out: a token with its own
checksum, or the word that one was changed on its way. Real models do the same, so an application
that alters or loses reasoning between turns is found out here. Must not keep tokens.
"""

import re
from hashlib import blake2b

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Reasoning
from groxy.core.request import Request

_PREFIX = "sandbox-sealed-"
_FORM = re.compile(_PREFIX + "([0-9a-f]{32})([0-9a-f]{16})")
_CHANGED = (
    "The encrypted content of a reasoning item is not as the sandbox wrote it. "
    "Send reasoning back unchanged, or leave it out."
)


_CARRIED = b'"groxy1..' + _PREFIX.encode()
_NATIVE = b'"' + _PREFIX.encode()


def native(written: bytes) -> bytes:
    """Return what the Messages dialect wrote with tokens as an upstream's own `signature` is.

    The dialect wraps them for callers of the gateway; here the sandbox is the upstream.
    """
    return written.replace(_CARRIED, _NATIVE)


def carried(body: bytes) -> bytes:
    """Return a request's body with the sandbox's tokens in the form that the dialect reads."""
    return body.replace(_NATIVE, _CARRIED)


def sealed(thoughts: str, of: bytes) -> str:
    """Return the token for `thoughts` of the reply that `of` stands for; always the same one."""
    body = blake2b(thoughts.encode(errors="replace"), digest_size=16, key=of[:64]).hexdigest()
    return f"{_PREFIX}{body}{_checksum(body)}"


def is_intact(token: str) -> bool:
    """True for a token of the sandbox, as it wrote it."""
    found = _FORM.fullmatch(token)
    return found is not None and _checksum(found[1]) == found[2]


def has_thoughts_back(request: Request) -> bool:
    """True when the request brings back what the sandbox once sealed."""
    return any(is_intact(part.encrypted) for part in _reasoning(request))


def check_seals(request: Request) -> None:
    """Raise BAD_REQUEST when a token of the sandbox was changed; those of others pass."""
    for part in _reasoning(request):
        if part.encrypted.startswith(_PREFIX) and not is_intact(part.encrypted):
            raise GroxyError(ErrorKind.BAD_REQUEST, _CHANGED)


def _reasoning(request: Request) -> list[Reasoning]:
    return [
        part
        for message in request.messages
        for part in message.parts
        if isinstance(part, Reasoning)
    ]


def _checksum(body: str) -> str:
    return blake2b(body.encode(), digest_size=8, person=b"sandbox").hexdigest()
