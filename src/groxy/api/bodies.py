"""Bodies of requests that change something: small, and nothing in them that nobody knows.

In: a request, and the shape that its body must have. Out: that shape; or BAD_REQUEST that names
the field, with the one that was probably meant. A field that is passed over in silence could be
one with which somebody tries to change what is not theirs.
"""

from difflib import get_close_matches
from typing import Generic, TypeVar

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import Receive, Scope, read_body
from groxy.wire.json import UNREADABLE, decode_fields, decode_request, decoder

MAX_BYTES = 64 * 1024
_MAX_SHOWN = 64

T = TypeVar("T", bound=msgspec.Struct)


class Shape(Generic[T]):
    """Reads bodies of one shape: a struct that forbids unknown fields."""

    def __init__(self, kind: type[T]) -> None:
        self._decoder = decoder(kind)
        self._names = kind.__struct_encode_fields__

    async def read(self, scope: Scope, receive: Receive, *, may_be_empty: bool = False) -> T:
        """Return the body of a request; an empty one is `{}` where it `may_be_empty`."""
        body = await read_body(scope, receive, limit=MAX_BYTES)
        if may_be_empty and not body:
            body = b"{}"
        self._refuse_unknown(body)
        return decode_request(body, self._decoder)

    def _refuse_unknown(self, body: bytes) -> None:
        try:
            given = decode_fields(body)
        except UNREADABLE:
            return  # It is no object; what is wrong with it is told by who decodes it.
        for name in given:
            if name not in self._names:
                raise self._unknown(name[:_MAX_SHOWN])

    def _unknown(self, name: str) -> GroxyError:
        close = get_close_matches(name, self._names, n=1)
        there = ", ".join(self._names)
        hint = f"Did you mean `{close[0]}`?" if close else f"There are: {there}."
        message = f"`{name}` is not a field here. {hint}"
        return GroxyError(ErrorKind.BAD_REQUEST, message, param=name)
