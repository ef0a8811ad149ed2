"""Passwords: hashed with argon2id, checked in a few threads of their own.

In: what somebody typed. Out: a hash that says its own parameters, or whether one fits. It must not
log or keep what was typed, and must not tell by its time whether there was a hash at all.
"""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from groxy.core.errors import ErrorKind, GroxyError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_CHARS = 8
"""What NIST SP 800-63B (2025) asks for at least; it asks for no rules of which signs."""
MAX_CHARS = 256
_MEMORY_KIB = 32 * 1024
_PASSES = 3
"""More than OWASP's cheat sheet asks for at least: 19 MiB and 2 passes (2025)."""
_AT_ONCE = 2
"""Each takes its memory and a core: a flood of logins must not take all of them."""


async def hash_password(password: str, param: str = "password") -> str:
    """Return the hash of a new password; raise BAD_REQUEST for one that is too short or long."""
    plain = _plain(password)
    if plain is None or not MIN_CHARS <= len(password) <= MAX_CHARS:
        message = f"`{param}` must have {MIN_CHARS} to {MAX_CHARS} characters."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return await asyncio.get_running_loop().run_in_executor(_threads(), _hash, plain)


async def fits(password: str, hashed: str) -> bool:
    """Return whether a password is the hashed one; for an empty hash False, as slowly."""
    plain = _plain(password)
    if plain is None or len(password) > MAX_CHARS:
        return False
    return await asyncio.get_running_loop().run_in_executor(_threads(), _fits, plain, hashed)


def is_outdated(hashed: str) -> bool:
    """Return whether a hash was made with other parameters than new ones are."""
    return _hasher().check_needs_rehash(hashed)


def _plain(password: str) -> bytes | None:
    """Return what is hashed: the same for the same signs, however a keyboard composes them."""
    try:
        return unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:  # half a character: nobody typed that
        return None


def _hash(plain: bytes) -> str:
    return _hasher().hash(plain)


def _fits(plain: bytes, hashed: str) -> bool:
    # Loaded where it is needed: most processes never see a password.
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - see above

    try:
        _hasher().verify(hashed or _decoy(), plain)
    except (InvalidHashError, VerificationError):
        return False
    return bool(hashed)


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher  # noqa: PLC0415 - loaded where it is needed

    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)


@cache
def _decoy() -> str:
    """Return the hash that is checked where there is none."""
    return _hasher().hash(b"nobody")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
