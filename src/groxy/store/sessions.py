"""Sessions of people who logged in: digests only. A token is shown once, when it is opened.

In: a user's id, a password that was checked, or a token. Out: a token, or the user. It checks no
password, but that it is still the one that was checked.
"""

import secrets
import time

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database, lock
from groxy.store.secrets import InstallationSecret
from groxy.store.users import USERS, Checked, Guard, User, UserStatus, has_still, user_of

_PREFIX = "ses_"
_MAX_TOKEN_CHARS = 128

_sessions = tables.sessions.c
_users = tables.users.c


async def open_session(
    database: Database, secret: InstallationSecret, user_id: str, *, ttl_ms: int
) -> str:
    """Open a session of a user and return its token, for the only time."""
    token = _PREFIX + secrets.token_urlsafe(32)
    async with database.transaction() as connection:
        await connection.execute(_opening(secret, token, user_id, ttl_ms))
    return token


async def log_in(
    database: Database, secret: InstallationSecret, checked: Checked, *, ttl_ms: int
) -> str | None:
    """Open a session of who gave the right password and return its token, for the only time.

    None when it is not the right one any more, or the user may not log in: who changes a password
    ends the sessions that there are, and this would not be one of them.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    async with database.transaction() as connection:
        await lock(connection, USERS)
        if not await has_still(connection, checked):
            return None
        await connection.execute(_opening(secret, token, checked.user.id, ttl_ms))
    return token


def _opening(secret: InstallationSecret, token: str, user_id: str, ttl_ms: int) -> sa.Insert:
    now_ms = time.time_ns() // 1_000_000
    return sa.insert(tables.sessions).values(
        digest=secret.digest(token),
        user_id=user_id,
        created_ms=now_ms,
        expires_ms=now_ms + ttl_ms,
    )


def while_logged_in(digest: bytes, checked: Checked | None = None) -> Guard:
    """Return what stops a change once the session is over, or the password another one.

    Raises BAD_KEY (`invalid_session`), or FORBIDDEN (`wrong_password`).
    """

    async def guard(connection: AsyncConnection) -> None:
        query = sa.select(_sessions.user_id).where(_sessions.digest == digest)
        if await connection.scalar(query) is None:
            raise no_session()
        if checked is not None and not await has_still(connection, checked):
            raise wrong_password()

    return guard


def no_session() -> GroxyError:
    """Return the error for a session that is over, or never was."""
    message = "The session is over. Log in again at POST /v1/auth/login."
    return GroxyError(ErrorKind.BAD_KEY, message, code="invalid_session")


def wrong_password() -> GroxyError:
    """Return the error for a password that is not the one that the user has."""
    message = "`old_password` is not the password that the user has."
    return GroxyError(ErrorKind.FORBIDDEN, message, param="old_password", code="wrong_password")


async def session_user(database: Database, secret: InstallationSecret, token: str) -> User | None:
    """Return whose session it is; None for one that ended, or of a user who is disabled."""
    digest = session_digest(secret, token)
    if digest is None:
        return None
    query = (
        sa.select(tables.users)
        .join(tables.sessions, _sessions.user_id == _users.id)
        .where(
            _sessions.digest == digest,
            _sessions.expires_ms > time.time_ns() // 1_000_000,
            _users.status == UserStatus.ACTIVE.value,
        )
    )
    async with database.transaction() as connection:
        row = (await connection.execute(query)).mappings().first()
    return None if row is None else user_of(row)


async def close_session(database: Database, secret: InstallationSecret, token: str) -> None:
    """End a session; one that is not there stays so."""
    digest = session_digest(secret, token)
    if digest is not None:
        async with database.transaction() as connection:
            await connection.execute(sa.delete(tables.sessions).where(_sessions.digest == digest))


async def close_sessions_of(
    database: Database, secret: InstallationSecret, user_id: str, *, but: str = ""
) -> int:
    """End every session of a user but the one with the token `but`; return how many those were."""
    end = sa.delete(tables.sessions).where(_sessions.user_id == user_id)
    kept = session_digest(secret, but)
    if kept is not None:
        end = end.where(_sessions.digest != kept)
    async with database.transaction() as connection:
        return (await connection.execute(end)).rowcount


async def purge_sessions(database: Database, now_ms: int) -> int:
    """Delete the sessions that were over at `now_ms`; return how many those were."""
    end = sa.delete(tables.sessions).where(_sessions.expires_ms <= now_ms)
    async with database.transaction() as connection:
        return (await connection.execute(end)).rowcount


def session_digest(secret: InstallationSecret, token: str) -> bytes | None:
    """Return under what a token is kept; None for what cannot be one, such as a key."""
    if not token.startswith(_PREFIX) or len(token) > _MAX_TOKEN_CHARS or not token.isascii():
        return None
    return secret.digest(token)
