import asyncio
import dataclasses
import re
import time

import msgspec
import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Rates
from groxy.store import keys, tables
from groxy.store.database import Database, bump
from groxy.store.keys import (
    KEYS,
    KeyRole,
    StoredKey,
    create_key,
    find_key,
    keys_of,
    keys_since,
    list_keys,
    revoke_key,
    rotate_key,
    update_key,
)
from groxy.store.ledger import StoredBalances, balances_of
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import request_entry

SECRET = InstallationSecret(b"s" * 32)


async def new_key(database, name="laptop", role=KeyRole.CALLER):
    return await create_key(database, SECRET, name=name, role=role)


async def kind_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value.kind


def test_a_stored_key_has_a_field_for_each_column():
    fields = [field.name for field in dataclasses.fields(StoredKey)]

    columns = [column.name for column in tables.keys.columns if column.name != "revision"]
    assert fields == ["grant" if name == "terms" else name for name in columns]


@pytest.mark.parametrize(
    ("role", "shape"),
    [(KeyRole.CALLER, r"sk-grok-[\w-]{43}"), (KeyRole.OPERATOR, r"adm-[\w-]{43}")],
)
async def test_a_key_shows_what_it_opens_and_is_long_enough(database, role, shape):
    key, _ = await new_key(database, role=role)

    assert re.fullmatch(shape, key)


async def test_keys_differ(database):
    keys = {(await new_key(database))[0] for _ in range(20)}

    assert len(keys) == 20


async def test_a_key_is_found_by_its_digest_alone(database):
    key, stored = await new_key(database)

    assert await list_keys(database) == [stored]
    assert stored.digest == SECRET.digest(key)


async def test_what_is_stored_says_what_the_operator_wants_to_know(database):
    before = time.time_ns() // 1_000_000
    key, _ = await new_key(database, name="größte\n'; DROP TABLE keys; --")

    (found,) = await list_keys(database)

    assert found.name == "größte\n'; DROP TABLE keys; --"
    assert found.hint == key[-4:]
    assert before <= found.created_ms <= time.time_ns() // 1_000_000
    assert (found.role, found.revoked_ms) == (KeyRole.CALLER, None)


async def test_nothing_of_a_key_but_its_last_four_characters_is_in_the_file(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    keys = [(await new_key(database))[0] for _ in range(5)]
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    await database.close()
    on_disk += (tmp_path / "groxy.db").read_bytes()

    assert all(key[-4:].encode() in on_disk for key in keys)
    # More than one character beyond those four: what stands before them may be the fifth by chance.
    assert [key for key in keys if key[-8:].encode() in on_disk] == []
    assert [key for key in keys if key[8:16].encode() in on_disk] == []


async def test_keys_are_listed_oldest_first(database, monkeypatch):
    clock = iter([3_000_000_000, 1_000_000_000, 2_000_000_000])
    monkeypatch.setattr("groxy.store.keys.time.time_ns", lambda: next(clock))
    for name in "cab":
        await new_key(database, name=name)
    monkeypatch.undo()

    assert [key.name for key in await list_keys(database)] == ["a", "b", "c"]


async def test_two_keys_may_have_the_same_name(database):
    await new_key(database)
    await new_key(database)

    assert len({key.id for key in await list_keys(database)}) == 2


async def test_a_revoked_key_stays_in_the_list_with_the_time(database):
    _, first = await new_key(database, name="first")
    _, second = await new_key(database, name="second")
    before = time.time_ns() // 1_000_000

    await revoke_key(database, first.id)

    revoked_ms = {key.id: key.revoked_ms or 0 for key in await list_keys(database)}
    assert before <= revoked_ms[first.id] <= time.time_ns() // 1_000_000
    assert revoked_ms[second.id] == 0


async def test_a_key_cannot_be_revoked_twice(database):
    _, stored = await new_key(database)
    await revoke_key(database, stored.id)
    (revoked,) = await list_keys(database)

    assert await kind_of(revoke_key(database, stored.id)) is ErrorKind.NOT_FOUND
    assert await list_keys(database) == [revoked]


async def test_of_many_who_revoke_a_key_at_once_one_succeeds(database):
    _, stored = await new_key(database)

    outcomes = await asyncio.gather(
        *(revoke_key(database, stored.id) for _ in range(5)), return_exceptions=True
    )

    assert outcomes.count(None) == 1


@pytest.mark.parametrize("key_id", ["key_none", "", "' OR '1'='1", "%"])
async def test_a_key_that_nobody_made_cannot_be_revoked(database, key_id):
    await new_key(database)

    assert await kind_of(revoke_key(database, key_id)) is ErrorKind.NOT_FOUND
    assert [key.revoked_ms for key in await list_keys(database)] == [None]


async def test_making_and_revoking_a_key_raise_the_revision(database):
    _, stored = await new_key(database)
    made = await database.revision(KEYS)
    await revoke_key(database, stored.id)

    assert (made, await database.revision(KEYS)) == (1, 2)


async def test_what_changed_nothing_leaves_the_revision(database):
    await kind_of(revoke_key(database, "key_none"))
    await list_keys(database)

    assert await database.revision(KEYS) == 0


async def test_keys_made_at_once_are_all_there(database):
    made = await asyncio.gather(*(new_key(database) for _ in range(8)))

    assert {key.id for key in await list_keys(database)} == {stored.id for _, stored in made}
    assert await database.revision(KEYS) == 8


async def test_two_keys_with_one_digest_are_refused(database):
    _, stored = await new_key(database)
    twin = {"id": "key_2", "name": "n", "role": "caller", "hint": "x", "created_ms": 1}

    with pytest.raises(GroxyError) as caught:
        async with database.transaction() as connection:
            await connection.execute(sa.insert(tables.keys).values(**twin, digest=stored.digest))

    assert caught.value.kind is ErrorKind.STORE_DOWN


# ------------------------------------------------------------------- owners, grants, rotations


GRANT = KeyGrant(
    models=("grok-4*",), ips=("10.0.0.0/8",), caps=Caps(day=5), rates=Rates(requests=7), tags=("a",)
)


@pytest.fixture
async def ada(database):
    return (await create_user(database, name="ada")).id


@pytest.fixture
async def eve(database):
    return (await create_user(database, name="eve")).id


async def key_of(database, user_id, **more):
    _, stored = await create_key(
        database, SECRET, name="theirs", role=KeyRole.CALLER, user_id=user_id, **more
    )
    return stored


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def test_a_key_has_its_owner_its_grant_and_its_end(database, ada):
    stored = await key_of(database, ada, grant=GRANT, expires_ms=2_000_000_000_000)

    assert await find_key(database, stored.id) == stored
    assert (stored.user_id, stored.grant, stored.expires_ms) == (ada, GRANT, 2_000_000_000_000)


async def test_a_key_needs_a_user_that_is_there(database):
    error = await error_of(key_of(database, "usr_none"))

    assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "user_not_found")
    assert (await error_of(key_of(database, "a\0b"))).code == "user_not_found"
    assert await list_keys(database) == []


async def test_an_operators_key_has_no_user(database, ada):
    made = create_key(database, SECRET, name="n", role=KeyRole.OPERATOR, user_id=ada)

    assert (await error_of(made)).param == "user_id"


async def test_an_operators_key_cannot_seem_to_be_bound(database):
    role = KeyRole.OPERATOR
    for grant in (KeyGrant(ips=("10.0.0.0/8",)), KeyGrant(is_provisioning=True)):
        made = create_key(database, SECRET, name="n", role=role, grant=grant)
        assert (await error_of(made)).param == "grant"
    await create_key(database, SECRET, name="n", role=role, grant=KeyGrant(tags=("a",)))


async def test_a_user_cannot_have_keys_without_end(database, ada, eve, monkeypatch):
    monkeypatch.setattr(keys, "MAX_OF_USER", 2)
    first = await key_of(database, ada)
    await key_of(database, ada)
    assert (await error_of(key_of(database, ada))).code == "too_many_keys"

    await key_of(database, eve)
    await revoke_key(database, first.id)
    await key_of(database, ada)


async def test_a_change_is_in_the_key_and_leaves_the_rest(database, ada):
    stored = await key_of(database, ada, grant=GRANT)
    _, changed = await update_key(database, stored.id, {"name": "other", "expires_ms": 5})

    assert (changed.name, changed.expires_ms, changed.grant) == ("other", 5, GRANT)
    _, changed = await update_key(database, stored.id, {"grant": KeyGrant(), "expires_ms": None})
    assert changed == dataclasses.replace(stored, name="other", grant=KeyGrant())


async def test_what_is_made_of_the_grant_before_loses_nothing_that_others_change(database, ada):
    stored = await key_of(database, ada)

    def one_more(grant):
        return msgspec.structs.replace(grant, tags=(*grant.tags, f"tag-{len(grant.tags)}"))

    changes = await asyncio.gather(
        *(update_key(database, stored.id, {"grant": one_more}) for _ in range(10))
    )
    seen = sorted((len(before.grant.tags), len(after.grant.tags)) for before, after in changes)

    assert seen == [(count, count + 1) for count in range(10)]
    assert (await find_key(database, stored.id)).grant.tags == tuple(f"tag-{n}" for n in range(10))


async def test_a_grant_that_cannot_be_made_of_the_one_before_changes_nothing(database, ada):
    stored = await key_of(database, ada)

    def refused(grant):
        raise GroxyError(ErrorKind.BAD_REQUEST, "No.", param="models")

    changes = {"name": "x", "grant": refused}
    assert await kind_of(update_key(database, stored.id, changes)) is ErrorKind.BAD_REQUEST
    assert await find_key(database, stored.id) == stored


async def test_a_key_is_disabled_and_enabled_and_keeps_when_that_was_first(database, ada):
    stored = await key_of(database, ada)
    _, disabled = await update_key(database, stored.id, {"disabled": True})
    await asyncio.sleep(0.002)

    assert disabled.disabled_ms is not None
    assert (await update_key(database, stored.id, {"disabled": True}))[1] == disabled
    assert (await update_key(database, stored.id, {"disabled": False}))[1] == stored


async def test_a_key_rests_while_either_its_owner_or_the_operator_says_so(database, ada):
    stored = await key_of(database, ada)
    _, both = await update_key(database, stored.id, {"disabled": True, "suspended": True})
    _, suspended = await update_key(database, stored.id, {"disabled": False})

    assert both.rests_since_ms == both.disabled_ms is not None
    assert suspended.rests_since_ms == both.suspended_ms is not None
    assert await keys_of(database, ada, include_disabled=False) == []
    assert (await update_key(database, stored.id, {"suspended": False}))[1] == stored
    assert stored.rests_since_ms is None


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "usr_other"},
        {"role": "operator"},
        {"digest": b"x" * 32},
        {"revoked_ms": None},
        {"previous": b"x" * 32},
        {"id": "x"},
        {"limit": 10**12},
        {"grant": {"models": []}},
        {"grant": None},
        {"disabled": 1},
        {"disabled": "false"},
        {"suspended": None},
        {"name": None},
        {"expires_ms": True},
        {"expires_ms": 0},
        {"expires_ms": -1},
        {"expires_ms": 2**63},
        {"expires_ms": float("nan")},
        {"expires_ms": "1e3"},
    ],
)
async def test_what_is_no_change_of_a_key_is_refused_and_named(database, changes):
    _, stored = await new_key(database)
    error = await error_of(update_key(database, stored.id, changes))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, next(iter(changes)))
    assert await list_keys(database) == [stored]


async def test_another_users_key_is_not_there(database, ada, eve):
    stored = await key_of(database, ada)
    _, operators = await new_key(database)
    for key_id in (stored.id, operators.id):
        for call in (
            find_key(database, key_id, user_id=eve),
            update_key(database, key_id, {"name": "mine"}, user_id=eve),
            rotate_key(database, SECRET, key_id, grace_ms=0, user_id=eve),
            revoke_key(database, key_id, user_id=eve),
        ):
            error = await error_of(call)
            assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "key_not_found")

    assert await list_keys(database) == [stored, operators]
    await revoke_key(database, stored.id, user_id=ada)


async def test_an_empty_user_is_not_everybody(database, ada):
    stored = await key_of(database, ada)

    assert (await error_of(revoke_key(database, stored.id, user_id=""))).code == "key_not_found"


async def test_a_rotated_key_keeps_its_id_and_the_digest_of_before(database, ada):
    stored = await key_of(database, ada, grant=GRANT)
    before = time.time_ns() // 1_000_000
    key, rotated = await rotate_key(database, SECRET, stored.id, grace_ms=60_000, user_id=ada)

    assert re.fullmatch(r"sk-grok-[\w-]{43}", key)
    assert (rotated.id, rotated.grant) == (stored.id, GRANT)
    assert (rotated.digest, rotated.previous) == (SECRET.digest(key), stored.digest)
    assert rotated.hint == key[-4:]
    assert rotated.previous_until_ms is not None
    assert 0 <= rotated.previous_until_ms - before - 60_000 < 10_000

    _, again = await rotate_key(database, SECRET, stored.id, grace_ms=60_000)
    assert again.previous == rotated.digest


async def test_without_grace_nothing_is_left_of_the_secrets_of_before(database):
    _, stored = await new_key(database)
    await rotate_key(database, SECRET, stored.id, grace_ms=60_000)
    _, rotated = await rotate_key(database, SECRET, stored.id, grace_ms=0)

    assert (rotated.previous, rotated.previous_until_ms) == (None, None)


@pytest.mark.parametrize("grace_ms", [-1, True, 2**63])
async def test_a_grace_that_is_none_is_refused(database, grace_ms):
    _, stored = await new_key(database)
    error = await error_of(rotate_key(database, SECRET, stored.id, grace_ms=grace_ms))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "grace")
    assert await list_keys(database) == [stored]


async def test_a_revoked_key_can_be_neither_found_nor_changed_nor_rotated(database):
    _, stored = await new_key(database)
    await revoke_key(database, stored.id)

    for call in (
        find_key(database, stored.id),
        update_key(database, stored.id, {"disabled": False}),
        rotate_key(database, SECRET, stored.id, grace_ms=0),
    ):
        assert (await error_of(call)).code == "key_not_found"


async def test_an_operators_key_rotates_to_an_operators_key(database):
    _, stored = await new_key(database, role=KeyRole.OPERATOR)
    key, _ = await rotate_key(database, SECRET, stored.id, grace_ms=0)

    assert key.startswith("adm-")


async def test_keys_of_a_user_come_in_pages_without_those_of_others(database, ada, eve):
    made = [await key_of(database, ada) for _ in range(5)]
    foreign = await key_of(database, eve)
    await update_key(database, made[1].id, {"disabled": True})
    await revoke_key(database, made[3].id)
    ids = sorted((made[n].created_ms, made[n].id) for n in (0, 1, 2, 4))

    first = await keys_of(database, ada, limit=3)
    second = await keys_of(database, ada, after=first[-1].id, limit=3)

    assert [(key.created_ms, key.id) for key in (*first, *second)] == ids
    assert await keys_of(database, ada, after=foreign.id) == []
    assert len(await keys_of(database, ada, include_disabled=False)) == 3
    assert await keys_of(database, "") == []


# ---------------------------------------------------------------------- what changed since then


async def test_at_first_all_keys_in_force_are_read_and_then_what_changed(database):
    (_, kept), (_, other), (_, gone) = [await new_key(database) for _ in range(3)]
    await revoke_key(database, gone.id)
    whole = await keys_since(database, 0)
    assert {key.id for key in whole.keys} == {kept.id, other.id}
    assert (whole.is_whole, whole.gone, whole.revision) == (True, [], 4)

    _, changed = await update_key(database, kept.id, {"disabled": True})
    await revoke_key(database, other.id)
    news = await keys_since(database, whole.revision)
    assert (news.keys, news.gone, news.is_whole) == ([changed], [other.id], False)
    again = await keys_since(database, news.revision)
    assert (again.keys, again.gone, again.is_whole) == ([], [], False)


async def test_a_revision_that_lies_ahead_gives_all(database):
    _, stored = await new_key(database)
    news = await keys_since(database, 7)

    assert (news.keys, news.is_whole, news.revision) == ([stored], True, 1)


async def test_what_a_groxy_of_before_changed_is_noticed(database):
    """It counts the revision, but does not write it into the row."""
    _, stored = await new_key(database)
    async with database.transaction() as connection:
        await connection.execute(sa.update(tables.keys).values(revoked_ms=1))
        await bump(connection, KEYS)

    news = await keys_since(database, 1)

    assert (news.keys, news.is_whole) == ([], True)
    assert stored.id not in {key.id for key in news.keys}


async def test_many_keys_are_read_in_parts_and_none_is_missed(database):
    rows = [
        {
            "id": f"key_{n:05}",
            "name": "n",
            "role": "caller",
            "digest": n.to_bytes(32),
            "hint": "x",
            "created_ms": n,
            "revision": n % 3,
        }
        for n in range(1_300)
    ]
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.keys), rows)
        for _ in range(2):
            await bump(connection, KEYS)

    assert len((await keys_since(database, 0)).keys) == 1_300
    assert len((await keys_since(database, 1)).keys) == len([n for n in range(1_300) if n % 3 == 2])


async def test_a_key_that_cannot_be_read_is_gone_and_keeps_no_other_from_being_loaded(database):
    _, stored = await new_key(database)
    _, odd = await new_key(database)
    async with database.transaction() as connection:
        change = sa.update(tables.keys).where(tables.keys.c.id == odd.id)
        await connection.execute(change.values(terms='{"models":5}'))

    news = await keys_since(database, 0)

    assert (news.keys, news.gone) == ([stored], [odd.id])


async def test_other_terms_count_anew_what_was_spent(database):
    _, key = await new_key(database)
    name = f"spend:{key.id}:total"
    await StoredBalances(database).read([name])
    writer = entry_writer(database)
    await writer.submit(Group([request_entry(key_id=key.id, charge_ticks=7, held_ticks=7)], []))
    await writer.close()

    await update_key(database, key.id, {"name": "other"})
    assert (await balances_of(database, [name]))[name] == (0, 1)
    await update_key(database, key.id, {"grant": KeyGrant(caps=Caps(total=9))})
    assert (await balances_of(database, [name]))[name] == (-7, 2)
