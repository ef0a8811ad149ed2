"""Sessions of people who logged in: digests only. A token is shown once, when it is opened.

In: a user's id, or a token. Out: a token, or the user. It checks no password.
"""

import secrets
import time

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.store.users import User, UserStatus, user_of

_PREFIX = "ses_"
_MAX_TOKEN_CHARS = 128

_sessions = tables.sessions.c
_users = tables.users.c


async def open_session(
    database: Database, secret: InstallationSecret, user_id: str, *, ttl_ms: int
) -> str:
    """Open a session of a user and return its token, for the only time."""
    token = _PREFIX + secrets.token_urlsafe(32)
    now_ms = time.time_ns() // 1_000_000
    row = {
        "digest": secret.digest(token),
        "user_id": user_id,
        "created_ms": now_ms,
        "expires_ms": now_ms + ttl_ms,
    }
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.sessions).values(row))
    return token


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
