import asyncio
import dataclasses

import msgspec
import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Rates, UserGrant
from groxy.store import passwords, tables
from groxy.store.secrets import InstallationSecret
from groxy.store.sessions import open_session, session_digest, session_user
from groxy.store.users import (
    USERS,
    User,
    UserRole,
    UserStatus,
    check_password,
    create_user,
    find_by_email,
    find_user,
    list_users,
    update_user,
    users_since,
)

SECRET = InstallationSecret(b"s" * 32)
PASSWORD = "correct horse battery"
GRANT = UserGrant(rates=Rates(requests=5), overdraft=7, alert_below=3, note="largest")


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def who(database, email, password):
    """Return the user whose address and password these are."""
    checked = await check_password(database, email, password)
    assert checked is not None
    return checked.user


async def stored_password(database):
    async with database.transaction() as connection:
        return await connection.scalar(sa.select(tables.users.c.password))


async def test_a_user_is_found_as_made(database):
    made = await create_user(
        database, name=" Ada ", email=" Ada@Example.COM ", role=UserRole.ADMIN, grant=GRANT
    )

    assert made.id.startswith("usr_")
    assert (made.name, made.email, made.role) == ("Ada", "ada@example.com", UserRole.ADMIN)
    assert (made.status, made.grant, made.plan_id) == (UserStatus.ACTIVE, GRANT, "")
    assert not made.has_password
    assert await find_user(database, made.id) == made
    assert await find_by_email(database, "ADA@example.com") == made


def test_a_user_does_not_have_the_hash_of_the_password():
    names = {field.name for field in dataclasses.fields(User)}

    assert names >= {"has_password"}
    assert "password" not in names


async def test_users_without_an_address_are_as_many_as_one_likes(database):
    for _ in range(2):
        await create_user(database, name="ada")

    assert len(await list_users(database)) == 2
    assert await find_by_email(database, "") is None


async def test_an_address_belongs_to_one_user_in_whatever_case(database):
    await create_user(database, name="ada", email="ada@example.com")
    other = await create_user(database, name="bob", email="bob@example.com")

    for call in (
        create_user(database, name="eve", email="ADA@EXAMPLE.COM"),
        update_user(database, other.id, {"email": "Ada@Example.com"}),
    ):
        error = await error_of(call)
        assert (error.kind, error.code, error.param) == (
            ErrorKind.CONFLICT,
            "email_taken",
            "email",
        )
    _, again = await update_user(database, other.id, {"email": "BOB@example.com"})
    assert again.email == "bob@example.com"


async def test_of_users_made_at_once_with_one_address_one_is_there(database):
    done = await asyncio.gather(
        *(create_user(database, name="a", email=f"A{'a' * n}@x.y"[-5:]) for n in range(5)),
        return_exceptions=True,
    )

    assert sum(isinstance(one, User) for one in done) == 1


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "a@b@c",
        "a b@example.com",
        "ada@example.com\nx",
        "ada@exam\0ple.com",
        "ada@example.com,eve@example.com",
        "ada@example..com",
        "\u0131da@example.com",
        "ada@exa\u212aple.com",
        "x" * 65 + "@example.com",
        "a@" + "b" * 254,
        "<script>@x",
    ],
)
async def test_what_is_no_address_is_refused(database, email):
    error = await error_of(create_user(database, name="ada", email=email))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "email")
    assert await list_users(database) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "usr_other"},
        {"balance": 10**12},
        {"created_ms": 1},
        {"revision": 9},
        {"has_password": True},
        {"role": "admin"},
        {"status": "active"},
        {"grant": {"overdraft": 10**12}},
        {"plan_id": None},
        {"plan_id": "a\0b"},
        {"name": ""},
        {"name": "x" * 257},
        {"name": "\ud800"},
        {"email": 5},
        {"password": None},
        {"password": b"12345678"},
        {"password": "short"},
        {"password": "x" * 257},
        {"password": "x" * 20 + "\ud800"},
    ],
)
async def test_what_is_no_change_of_a_user_is_refused_and_named(database, changes):
    user = await create_user(database, name="ada")
    error = await error_of(update_user(database, user.id, changes))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, next(iter(changes)))
    assert await list_users(database) == [user]


@pytest.mark.parametrize("user_id", ["usr_none", "", "%", "a\0b", "\ud800", "' OR '1'='1"])
async def test_a_user_that_nobody_made_is_not_found(database, user_id):
    await create_user(database, name="ada")
    for call in (find_user(database, user_id), update_user(database, user_id, {"name": "x"})):
        error = await error_of(call)
        assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "user_not_found")


async def test_a_plan_that_is_not_there_cannot_be_had(database):
    user = await create_user(database, name="ada")
    for call in (
        create_user(database, name="bob", plan_id="plan_none"),
        update_user(database, user.id, {"plan_id": "plan_none"}),
    ):
        assert (await error_of(call)).code == "plan_not_found"
    assert await list_users(database) == [user]


# ----------------------------------------------------------------------------------- passwords


async def test_a_password_opens_the_door_to_its_user_alone(database):
    user = await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)
    await create_user(database, name="bob", email="bob@x.y")

    assert user.has_password
    assert await who(database, "ADA@x.y ", PASSWORD) == user
    for email, password in (
        ("ada@x.y", PASSWORD + " "),
        ("ada@x.y", PASSWORD.upper()),
        ("ada@x.y", ""),
        ("ada@x.y", "x" * 100_000),
        ("ada@x.y", "\ud800"),
        ("bob@x.y", ""),
        ("bob@x.y", PASSWORD),
        ("bob@x.y", "nobody"),
        ("nobody@x.y", "nobody"),
        ("nobody", PASSWORD),
        ("\0", PASSWORD),
        ("' OR '1'='1", PASSWORD),
    ):
        assert await check_password(database, email, password) is None


async def test_a_password_is_stored_as_argon2id_alone(database):
    await create_user(database, name="ada", password=PASSWORD)
    stored = await stored_password(database)

    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


async def test_a_stored_hash_is_no_password(database):
    await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)

    assert await check_password(database, "ada@x.y", await stored_password(database)) is None


async def test_a_disabled_user_cannot_log_in(database):
    user = await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)
    await update_user(database, user.id, {"status": UserStatus.DISABLED})

    assert await check_password(database, "ada@x.y", PASSWORD) is None


async def test_an_empty_password_takes_it_away(database):
    user = await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)
    _, changed = await update_user(database, user.id, {"password": ""})

    assert not changed.has_password
    assert await check_password(database, "ada@x.y", "") is None


async def test_an_unknown_address_takes_as_long_as_a_known_one(database, monkeypatch):
    await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)
    checked = []

    def noted(plain, hashed):
        checked.append(len(hashed or passwords._decoy()))
        return fits(plain, hashed)

    fits = passwords._fits
    monkeypatch.setattr(passwords, "_fits", noted)
    for email in ("ada@x.y", "nobody@x.y", "no address"):
        await check_password(database, email, "wrong password")

    assert len(checked) == 3
    assert len(set(checked)) == 1


async def test_a_hash_of_before_is_renewed_at_the_next_login(database, monkeypatch):
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: weak)
    user = await create_user(database, name="ada", email="ada@x.y", password=PASSWORD)
    before = await stored_password(database)
    monkeypatch.undo()

    assert await check_password(database, "ada@x.y", "wrong") is None
    assert await stored_password(database) == before
    assert await who(database, "ada@x.y", PASSWORD) == user
    after = await stored_password(database)
    assert after != before
    assert not passwords.is_outdated(after)
    assert await who(database, "ada@x.y", PASSWORD) == user


async def test_a_password_of_before_that_would_be_too_short_now_still_opens(database, monkeypatch):
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: weak)
    monkeypatch.setattr(passwords, "MIN_CHARS", 1)
    user = await create_user(database, name="ada", email="ada@x.y", password="short")
    monkeypatch.undo()

    assert await who(database, "ada@x.y", "short") == user


# ------------------------------------------------------------------------------------ sessions


async def test_a_new_password_ends_every_other_session(database):
    user = await create_user(database, name="ada", password=PASSWORD)
    here, there = [await open_session(database, SECRET, user.id, ttl_ms=60_000) for _ in range(2)]
    await update_user(
        database, user.id, {"password": PASSWORD + "2"}, but=session_digest(SECRET, here)
    )

    assert (await session_user(database, SECRET, here)) == await find_user(database, user.id)
    assert await session_user(database, SECRET, there) is None


async def test_who_is_disabled_has_no_session_even_when_enabled_again(database):
    user = await create_user(database, name="ada", password=PASSWORD)
    token = await open_session(database, SECRET, user.id, ttl_ms=60_000)
    await update_user(database, user.id, {"status": UserStatus.DISABLED})
    await update_user(database, user.id, {"status": UserStatus.ACTIVE})

    assert await session_user(database, SECRET, token) is None


async def test_another_change_ends_no_session(database):
    user = await create_user(database, name="ada", password=PASSWORD)
    token = await open_session(database, SECRET, user.id, ttl_ms=60_000)
    _, changed = await update_user(database, user.id, {"name": "Ada L.", "grant": GRANT})

    assert await session_user(database, SECRET, token) == changed


async def test_what_is_made_of_the_grant_before_loses_nothing_that_others_change(database):
    user = await create_user(database, name="ada")

    def one_more(grant):
        return msgspec.structs.replace(grant, overdraft=grant.overdraft + 1)

    changes = await asyncio.gather(
        *(update_user(database, user.id, {"grant": one_more}) for _ in range(10))
    )
    seen = sorted((before.grant.overdraft, after.grant.overdraft) for before, after in changes)

    assert seen == [(count, count + 1) for count in range(10)]
    assert (await find_user(database, user.id)).grant.overdraft == 10


async def test_a_grant_that_cannot_be_made_of_the_one_before_changes_nothing(database):
    user = await create_user(database, name="ada")

    def refused(grant):
        raise GroxyError(ErrorKind.BAD_REQUEST, "No.", param="models")

    error = await error_of(update_user(database, user.id, {"name": "x", "grant": refused}))

    assert error.param == "models"
    assert await find_user(database, user.id) == user


# --------------------------------------------------------------------------------------- lists


async def test_users_come_in_pages(database):
    made = {(await create_user(database, name=f"user {n}")).id for n in range(7)}
    first = await list_users(database, limit=3)
    second = await list_users(database, after=first[-1].id, limit=3)
    third = await list_users(database, after=second[-1].id, limit=3)

    assert [len(page) for page in (first, second, third)] == [3, 3, 1]
    assert {user.id for user in (*first, *second, *third)} == made
    assert await list_users(database, after="\uffff\0") == []


@pytest.mark.parametrize(
    ("search", "found"),
    [
        # None of them is hex digits only: those are found in ids.
        ("JUN", ["juno"]),
        ("x.y", ["100%", "juno"]),
        ("%", ["100%"]),
        ("j_n", []),
        ("\\", []),
        ("' OR 1=1 --", []),
        ("\0", ["100%", "juno"]),
        ("", ["100%", "juno"]),
    ],
)
async def test_a_search_finds_parts_and_knows_no_wildcard(database, search, found):
    await create_user(database, name="juno", email="juno@x.y")
    await create_user(database, name="100%", email="per@x.y")

    users = await list_users(database, search=search)

    assert sorted(user.name for user in users) == found


async def test_what_changed_since_a_revision_is_read_alone(database):
    first = await create_user(database, name="a")
    second = await create_user(database, name="b")
    whole = await users_since(database, 0)
    assert (whole.revision, whole.is_whole) == (2, True)
    assert {user.id for user in whole.users} == {first.id, second.id}

    _, changed = await update_user(database, first.id, {"name": "c"})
    news = await users_since(database, whole.revision)
    assert (news.revision, news.users, news.is_whole) == (3, [changed], False)
    assert (await users_since(database, 3)).users == []
    assert (await users_since(database, 99)).is_whole


async def test_one_that_a_newer_groxy_wrote_is_named_and_keeps_nobody_from_being_loaded(database):
    odd = await create_user(database, name="odd")
    user = await create_user(database, name="ada")
    async with database.transaction() as connection:
        change = sa.update(tables.users).where(tables.users.c.id == odd.id)
        await connection.execute(change.values(terms='{"overdraft":"much"}'))

    news = await users_since(database, 0)

    assert (news.users, news.unfit) == ([user], [odd.id])


async def test_a_failed_change_raises_no_revision(database):
    await create_user(database, name="ada", email="ada@x.y")
    await error_of(create_user(database, name="eve", email="ada@x.y"))

    assert await database.revision(USERS) == 1
