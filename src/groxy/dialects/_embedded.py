"""Errors in place of a reply, or in one: how every dialect tells them from replies.

In: what an upstream sent with a good status. Out: whether a field says something, and the error
that a body is which cannot be read as a reply.
"""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.wire.json import UNREADABLE, decode_any

_NOTHING = (b"", b"null", b"{}", b"[]", b'""', b"false", b"0")


def is_there(raw: msgspec.Raw) -> bool:
    """True when a field, such as `error`, says something: absent, null and empty ones do not."""
    return bytes(raw) not in _NOTHING


def failure_in(body: bytes, error: Exception) -> Exception:
    """Return what a body is that could not be read because of `error`.

    An `EmbeddedError` when it says so itself, else BAD_REPLY.
    """
    if _has_error(body):
        return EmbeddedError(body)
    return GroxyError(
        ErrorKind.BAD_REPLY,
        "The upstream sent a reply that could not be read.",
        detail=f"{type(error).__name__}: {error}",
    )


def _has_error(body: bytes) -> bool:
    try:
        fields = decode_any(body)
    except UNREADABLE:
        return False
    return isinstance(fields, dict) and bool(fields.get("error"))
