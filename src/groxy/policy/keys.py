"""Who is asking: a presented key in, a `Caller` out, or the error that says what is wrong.

Keys are known by digest only; looking one up by its digest takes the same time whether it exists
or not, because nobody can choose the digest of a guess. In open mode there is nothing to present.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError

MAX_KEY_CHARS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    key_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A key in force."""

    digest: bytes
    caller: Caller


ANYONE = Caller(key_id="open", name="open mode")


class Keyring:
    """The keys in force. `replace` swaps all of them at once, whenever they changed."""

    def __init__(self, digest: Callable[[str], bytes], *, is_open: bool = False) -> None:
        self._digest = digest
        self._is_open = is_open
        self._known: dict[bytes, Caller] = {}

    def replace(self, keys: Iterable[KnownKey]) -> None:
        """Make `keys` the only ones in force."""
        self._known = {key.digest: key.caller for key in keys}

    def identify(self, authorization: str | None, x_api_key: str | None) -> Caller:
        """Return who presents these headers, or raise BAD_KEY."""
        if self._is_open:
            return ANYONE
        key = presented_key(authorization, x_api_key)
        if key is None:
            raise GroxyError(
                ErrorKind.BAD_KEY,
                "No API key was sent. Send `Authorization: Bearer <key>` or `x-api-key: <key>`.",
            )
        caller = self._known.get(self._digest(key)) if len(key) <= MAX_KEY_CHARS else None
        if caller is None:
            message = "The API key is not valid. Check that it was copied whole and not revoked."
            raise GroxyError(ErrorKind.BAD_KEY, message)
        return caller


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return the key in either header; raise BAD_KEY when they carry two different ones."""
    bearer = None
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            bearer = value.strip()
    plain = x_api_key.strip() if x_api_key is not None else None
    if bearer and plain and bearer != plain:
        message = "Authorization and x-api-key carry different keys. Send one of them."
        raise GroxyError(ErrorKind.BAD_KEY, message)
    return bearer or plain or None
