import pytest

from groxy.core.grants import KeyGrant
from groxy.store.key_pages import newest_keys, page_of_keys
from groxy.store.keys import KeyRole, create_key, revoke_key, update_key
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user

SECRET = InstallationSecret(b"s" * 32)


async def make(database, **more):
    given = {"name": "one", "role": KeyRole.CALLER, **more}
    return (await create_key(database, SECRET, **given))[1]


async def test_pages_follow_each_other_and_have_no_revoked_key(database):
    user = await create_user(database, name="Ada")
    keys = [await make(database) for _ in range(4)]
    hers = await make(database, user_id=user.id)
    await revoke_key(database, keys[0].id)
    ids = sorted(one.id for one in [*keys[1:], hers])

    first = await page_of_keys(database, limit=3)
    second = await page_of_keys(database, after=first[-1].id, limit=3)

    assert [one.id for one in [*first, *second]] == ids
    assert await page_of_keys(database, user_id=user.id) == [hers]
    assert len(await page_of_keys(database, user_id="")) == 3
    assert await page_of_keys(database, user_id="usr_\0none", after="\0") == []


async def test_an_owner_sees_the_newest_of_their_own_first(database):
    user = await create_user(database, name="Ada")
    keys = [await make(database, user_id=user.id) for _ in range(3)]
    await make(database)
    ids = [one.id for one in sorted(keys, key=lambda one: (one.created_ms, one.id), reverse=True)]

    assert [one.id for one in await newest_keys(database, user.id)] == ids
    assert [one.id for one in await newest_keys(database, user.id, offset=2)] == ids[2:]
    assert [one.id for one in await newest_keys(database, user.id, limit=1)] == ids[:1]


async def test_disabled_keys_are_told_only_when_asked_for(database):
    user = await create_user(database, name="Ada")
    key = await make(database, user_id=user.id)
    await update_key(database, key.id, {"disabled": True})

    assert await newest_keys(database, user.id) == []
    assert len(await newest_keys(database, user.id, include_disabled=True)) == 1


async def test_an_operators_key_is_nobodys_here(database):
    await make(database, role=KeyRole.OPERATOR)
    nobodys = await make(database)

    assert await newest_keys(database, "") == [nobodys]


@pytest.mark.parametrize("tag", ['"is_provisioning":true', "is_provisioning:true", "%", "\\"])
async def test_provisioning_keys_are_left_out_and_no_others(database, tag):
    user = await create_user(database, name="Ada")
    await make(database, user_id=user.id, grant=KeyGrant(is_provisioning=True))
    plain = await make(database, user_id=user.id, grant=KeyGrant(tags=(tag,)))

    assert await newest_keys(database, user.id, include_provisioning=False) == [plain]
    assert len(await newest_keys(database, user.id)) == 2
