import time

import pytest
import sqlalchemy as sa

from groxy.core.errors import GroxyError
from groxy.store import tables
from groxy.store.secrets import InstallationSecret
from groxy.store.sessions import (
    close_session,
    close_sessions_of,
    log_in,
    open_session,
    purge_sessions,
    session_digest,
    session_user,
    while_logged_in,
)
from groxy.store.users import (
    UserStatus,
    check_password,
    create_user,
    find_user,
    update_user,
)

SECRET = InstallationSecret(b"s" * 32)
MINUTE_MS = 60_000
PASSWORD = "correct horse battery"


@pytest.fixture
async def user(database):
    return await create_user(database, name="ada", email="ada@x.y")


async def opened(database, user, ttl_ms=MINUTE_MS):
    return await open_session(database, SECRET, user.id, ttl_ms=ttl_ms)


async def test_a_session_is_its_users_and_each_is_another(database, user):
    first, second = await opened(database, user), await opened(database, user)

    assert first != second
    assert first.startswith("ses_")
    assert await session_user(database, SECRET, first) == user
    assert await session_user(database, SECRET, second) == user


@pytest.fixture
async def checked(database):
    await create_user(database, name="eve", email="eve@x.y", password=PASSWORD)
    found = await check_password(database, "eve@x.y", PASSWORD)
    assert found is not None
    return found


async def logged_in(database, checked):
    """Return a token, and what it is known by."""
    token = await log_in(database, SECRET, checked, ttl_ms=MINUTE_MS)
    assert token is not None
    digest = session_digest(SECRET, token)
    assert digest is not None
    return token, digest


CHANGES = [{"password": "another password"}, {"password": ""}, {"status": UserStatus.DISABLED}]


async def test_who_gave_the_right_password_is_logged_in(database, checked):
    token, _ = await logged_in(database, checked)

    assert await session_user(database, SECRET, token) == checked.user


@pytest.mark.parametrize("change", CHANGES)
async def test_a_password_that_was_right_logs_nobody_in_after_a_change(database, checked, change):
    await update_user(database, checked.user.id, change)

    assert await log_in(database, SECRET, checked, ttl_ms=MINUTE_MS) is None
    await update_user(database, checked.user.id, {"status": UserStatus.ACTIVE})
    assert await rows(database) == []


async def test_who_is_logged_in_changes_their_password(database, checked):
    token, own = await logged_in(database, checked)
    guard = while_logged_in(own, checked)
    change = {"password": "another password"}
    await update_user(database, checked.user.id, change, but=own, guard=guard)

    assert await check_password(database, "eve@x.y", "another password") is not None
    assert await session_user(database, SECRET, token) is not None


@pytest.mark.parametrize("change", CHANGES[:2])
async def test_a_password_that_was_right_changes_nothing_after_another_change(
    database, checked, change
):
    _, own = await logged_in(database, checked)
    await update_user(database, checked.user.id, change, but=own)

    for guard, code in [
        (while_logged_in(own, checked), "wrong_password"),
        (while_logged_in(b"x" * 32, checked), "invalid_session"),
    ]:
        with pytest.raises(GroxyError) as caught:
            await update_user(database, checked.user.id, {"name": "thief"}, guard=guard)
        assert caught.value.code == code
    assert (await find_user(database, checked.user.id)).name == "eve"


async def rows(database):
    async with database.transaction() as connection:
        return (await connection.execute(sa.select(tables.sessions))).all()


async def test_a_token_is_not_stored(database, user):
    token = await opened(database, user)
    async with database.transaction() as connection:
        row = (await connection.execute(sa.select(tables.sessions))).mappings().one()

    assert row["digest"] == SECRET.digest(token)
    assert token not in str(dict(row))


async def test_a_session_ends_when_its_time_is_over(database, user):
    token = await opened(database, user, ttl_ms=0)

    assert await session_user(database, SECRET, token) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "a",
        lambda token: token.swapcase(),
        lambda token: token.removeprefix("ses_"),
        lambda token: token + "\0",
        lambda token: "",
        lambda token: "ses_",
        lambda token: "ses_" + "x" * 2**16,
        lambda token: "ses_\ud800",
        lambda token: "ses_' OR '1'='1",
    ],
)
async def test_what_is_no_token_opens_no_session(database, user, change):
    token = await opened(database, user)
    assert await session_user(database, SECRET, change(token)) is None
    await close_session(database, SECRET, change(token))

    assert await session_user(database, SECRET, token) == user


async def test_a_digest_is_no_token(database, user):
    token = await opened(database, user)

    assert await session_user(database, SECRET, "ses_" + SECRET.digest(token).hex()) is None


async def test_a_closed_session_is_over_and_others_are_not(database, user):
    first, second = await opened(database, user), await opened(database, user)
    await close_session(database, SECRET, first)

    assert await session_user(database, SECRET, first) is None
    assert await session_user(database, SECRET, second) == user


async def test_all_sessions_of_one_user_end_but_one(database, user):
    other = await create_user(database, name="bob")
    here, there, bobs = [await opened(database, one) for one in (user, user, other)]

    assert await close_sessions_of(database, SECRET, user.id, but=here) == 1
    assert await session_user(database, SECRET, there) is None
    assert await session_user(database, SECRET, here) == user
    assert await session_user(database, SECRET, bobs) == other

    assert await close_sessions_of(database, SECRET, user.id) == 1
    assert await session_user(database, SECRET, here) is None


async def test_another_installations_token_opens_nothing(database, user):
    token = await opened(database, user)

    assert await session_user(database, InstallationSecret(b"t" * 32), token) is None


async def test_what_is_over_is_deleted_and_nothing_else(database, user):
    await opened(database, user, ttl_ms=0)
    token = await opened(database, user)

    assert await purge_sessions(database, time.time_ns() // 1_000_000) == 1
    assert await session_user(database, SECRET, token) == user
