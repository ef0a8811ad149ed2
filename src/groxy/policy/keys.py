"""Who is asking: a presented key in, a `Caller` out, or the error that says what is wrong.

Keys are known by digest only; looking one up by its digest takes the same time whether it exists
or not, because nobody can choose the digest of a guess. In open mode there is nothing to present.

Keys of the database are in force for a set time after it was last read, so that a database that is
away stops nobody at once, and a key that was revoked meanwhile does not work for ever. What cannot
be checked is never called wrong.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError

MAX_KEY_CHARS = 512
_DOUBT_AFTER_S = 5.0
"""The database is read every half second. If it was not for so long, a key that nobody knows may be
a new one."""
_RETRY_AFTER_S = 5.0


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
    is_stored: bool = True
    """False for one that the database does not have, which cannot be revoked there."""


ANYONE = Caller(key_id="open", name="open mode")


class Keyring:
    """The keys in force. `replace` swaps all of them at once, whenever they changed.

    `confirm` says that they are those of the database still. Without it stored keys are in force
    for `grace_s` seconds, as `clock` counts them.
    """

    def __init__(
        self,
        digest: Callable[[str], bytes],
        *,
        is_open: bool = False,
        grace_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._digest = digest
        self._is_open = is_open
        self._grace_s = grace_s
        self._doubt_s = min(_DOUBT_AFTER_S, grace_s)
        self._clock = clock
        self._known: dict[bytes, Caller] = {}
        self._lasting: frozenset[bytes] = frozenset()
        self._doubted_from = math.inf
        self.fresh_until = math.inf
        """Until when stored keys are in force."""
        self.confirm(clock())

    def replace(self, keys: Iterable[KnownKey], *, is_open: bool | None = None) -> None:
        """Make `keys` the only ones in force; `is_open` begins or ends open mode."""
        if is_open is not None:
            self._is_open = is_open
        known = list(keys)
        self._known = {key.digest: key.caller for key in known}
        self._lasting = frozenset(key.digest for key in known if not key.is_stored)

    def named(self, key_id: str) -> Caller | None:
        """Return the caller whose key has this id."""
        return next((one for one in self._known.values() if one.key_id == key_id), None)

    def confirm(self, now: float) -> None:
        """Note that at `now`, by the clock, the keys were those of the database."""
        self.fresh_until = now + self._grace_s
        if self._grace_s < math.inf:
            self._doubted_from = now + self._doubt_s

    def identify(self, authorization: str | None, x_api_key: str | None) -> Caller:
        """Return who presents these headers.

        Raises BAD_KEY, or STORE_DOWN when the database was away for too long to tell.
        """
        if self._is_open:
            return ANYONE
        key = presented_key(authorization, x_api_key)
        if key is None:
            raise GroxyError(
                ErrorKind.BAD_KEY,
                "No API key was sent. Send `Authorization: Bearer <key>` or `x-api-key: <key>`.",
            )
        if len(key) > MAX_KEY_CHARS:
            raise _bad_key()
        digest = self._digest(key)
        caller = self._known.get(digest)
        if caller is None:
            raise _unchecked() if self._clock() > self._doubted_from else _bad_key()
        if self._clock() > self.fresh_until and digest not in self._lasting:
            raise _unchecked()
        return caller


def _bad_key() -> GroxyError:
    message = "The API key is not valid. Check that it was copied whole and not revoked."
    return GroxyError(ErrorKind.BAD_KEY, message)


def _unchecked() -> GroxyError:
    message = "Keys cannot be checked right now. Try again."
    return GroxyError(ErrorKind.STORE_DOWN, message, retry_after_s=_RETRY_AFTER_S)


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
