"""Who is asking: a presented key in, a `Caller` out, or the error that says what is wrong.

Keys are known by digest only; looking one up by its digest takes the same time whether it exists
or not, because nobody can choose the digest of a guess. Why a key does not work is told to who
presents it, and to nobody else. In open mode there is nothing to present.

Keys of the database are in force for a set time after it was last read, so that a database that is
away stops nobody at once, and a key that was revoked meanwhile does not work for ever. What cannot
be checked is never called wrong.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import (
    ANY_KEY,
    NO_CAPS,
    NO_PLAN,
    NO_USER,
    Caps,
    KeyGrant,
    Plan,
    UserGrant,
)

MAX_KEY_CHARS = 512
_DOUBT_AFTER_S = 5.0
"""The database is read every half second. If it was not for so long, a key that nobody knows may be
a new one."""
_RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and what they may do."""

    key_id: str
    name: str
    user_id: str = ""
    """Empty for keys without a user, who pay nothing."""
    grant: KeyGrant = ANY_KEY
    user: UserGrant = NO_USER
    plan: Plan = NO_PLAN
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A key that may be in force."""

    digest: bytes
    caller: Caller
    is_stored: bool = True
    """False for one that the database does not have, which cannot be revoked there."""
    previous: bytes | None = None
    """The digest from before it was rotated."""
    previous_until_ms: int = 0
    """Until when that one works, in unix milliseconds."""
    is_disabled: bool = False
    is_suspended: bool = False
    """True when the operator took it out of service."""
    is_barred: bool = False
    """True when its user is disabled."""

    def refuse(self, digest: bytes, now_ms: int) -> None:
        """Raise BAD_KEY, to who presents the secret of this digest, when it does not work now."""
        if self.is_suspended:
            message = "The operator disabled this API key. Ask them."
        elif self.is_disabled:
            message = "This API key is disabled. Its owner can enable it again."
        elif self.is_barred:
            message = "The user of this API key is disabled. Ask the operator."
        elif self.caller.expires_ms is not None and now_ms >= self.caller.expires_ms:
            message = "This API key has expired. Use another one."
        elif digest != self.digest and now_ms >= self.previous_until_ms:
            message = "This API key was rotated. Use its new secret."
        else:
            return
        raise GroxyError(ErrorKind.BAD_KEY, message)


ANYONE = Caller(key_id="open", name="open mode")


class Keyring:
    """The keys in force: those of the settings, and those of the database.

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
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._digest = digest
        self._is_open = is_open
        self._grace_s = grace_s
        self._doubt_s = min(_DOUBT_AFTER_S, grace_s)
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns
        self._lasting: dict[bytes, Caller] = {}
        self._lasting_ids: set[str] = set()
        self._stored: dict[bytes, KnownKey] = {}
        self._by_id: dict[str, KnownKey] = {}
        self._doubted_from = math.inf
        self.fresh_until = math.inf
        """Until when stored keys are in force."""
        self.trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
        """Whose word counts about which address a request came from."""
        self.confirm(clock())

    def replace(self, keys: Iterable[KnownKey], *, is_open: bool | None = None) -> None:
        """Make `keys` the only ones in force; `is_open` begins or ends open mode."""
        known = list(keys)
        self.replace_lasting((key for key in known if not key.is_stored), is_open=is_open)
        self.replace_stored(key for key in known if key.is_stored)

    def replace_lasting(self, keys: Iterable[KnownKey], *, is_open: bool | None = None) -> None:
        """Make `keys` the only ones that the database does not have."""
        self._lasting = {key.digest: key.caller for key in keys}
        self._lasting_ids = {caller.key_id for caller in self._lasting.values()}
        if is_open is not None:
            self._is_open = is_open

    def replace_stored(self, keys: Iterable[KnownKey]) -> None:
        """Make `keys` the only ones of the database."""
        known = list(keys)
        self._stored = {digest: key for key in known for digest in _digests_of(key)}
        self._by_id = {key.caller.key_id: key for key in known}

    def change(self, keys: Iterable[KnownKey], gone: Iterable[str] = ()) -> None:
        """Put in or change some keys of the database; those with the ids `gone` work no more."""
        for key_id in gone:
            self._forget(key_id)
        for key in keys:
            self._forget(key.caller.key_id)
            self._by_id[key.caller.key_id] = key
            for digest in _digests_of(key):
                self._stored[digest] = key

    def _forget(self, key_id: str) -> None:
        known = self._by_id.pop(key_id, None)
        if known is not None:
            for digest in _digests_of(known):
                self._stored.pop(digest, None)

    def stored_ids(self) -> set[str]:
        """Return the ids of all keys of the database."""
        return set(self._by_id)

    def known(self, key_id: str) -> KnownKey | None:
        """Return the key of the database with this id, as it is known."""
        return self._by_id.get(key_id)

    def named(self, key_id: str) -> Caller | None:
        """Return the caller whose key has this id."""
        known = self._by_id.get(key_id)
        if known is not None:
            return known.caller
        return next((one for one in self._lasting.values() if one.key_id == key_id), None)

    def caps_of(self, key_id: str) -> Caps:
        """Return what the key with this id may spend; what is not in the database has no caps."""
        known = self._by_id.get(key_id)
        return NO_CAPS if known is None else known.caller.grant.caps

    def is_in_force(self, key_id: str) -> bool:
        """Return whether a key with this id works now, whoever presents it."""
        known = self._by_id.get(key_id)
        if known is not None:
            return not (known.is_disabled or known.is_suspended or known.is_barred)
        if self._is_open and key_id == ANYONE.key_id:
            return True
        return key_id in self._lasting_ids

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
        caller = self._lasting.get(digest)
        return caller if caller is not None else self._stored_caller(digest)

    def _stored_caller(self, digest: bytes) -> Caller:
        known = self._stored.get(digest)
        if known is None:
            raise _unchecked() if self._clock() > self._doubted_from else _bad_key()
        if self._clock() > self.fresh_until:
            raise _unchecked()
        known.refuse(digest, self._wall_clock_ns() // 1_000_000)
        return known.caller


def _digests_of(key: KnownKey) -> tuple[bytes, ...]:
    return (key.digest,) if key.previous is None else (key.digest, key.previous)


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
