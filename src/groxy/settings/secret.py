"""Values that must not be printed: keys, and addresses that hold a password.

In comes the text, out goes an object whose `str`, `repr` and pydantic dump are masked. Only
`reveal()` gives the text back. This module must not write the text anywhere.
"""

import hmac
import re
from typing import Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "*****"
_HINT = 4
_HINTED_FROM = 16


class Secret:
    """A text that prints as `*****`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Hand it on, do not keep or print it."""
        return self._text

    def hint(self) -> str:
        """Return enough of a long key to tell it from others: `sk-g…f3a1`; of a short one, `…`."""
        text = self._text
        return f"{text[:_HINT]}…{text[-_HINT:]}" if len(text) > _HINTED_FROM else "…"

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = self._text.encode(), other._text.encode()
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def read(cls, value: object) -> Self:
        """Return `value` as a secret; anything but text is refused without being repeated."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            message = "must be text in quotes"
            raise ValueError(message)
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


class Address(Secret):
    """A URL that may hold a password: it prints without the user and without query values."""

    __slots__ = ()

    def __str__(self) -> str:
        return mask_address(self._text)


def mask_address(text: str) -> str:
    """Return a URL with everything that can be a password replaced, even when it is malformed."""
    head, at, host = text.rpartition("@")
    if at:
        scheme, colon, _ = head.partition("://")
        text = f"{scheme}://{MASK}@{host}" if colon else f"{MASK}@{host}"
    address, mark, query = text.partition("?")
    return address + mark + re.sub(r"=[^&]*", f"={MASK}", query)
