import asyncio
import dataclasses
import re
import time

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.keys import KEYS, KeyRole, StoredKey, create_key, list_keys, revoke_key
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)


async def new_key(database, name="laptop", role=KeyRole.CALLER):
    return await create_key(database, SECRET, name=name, role=role)


async def kind_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value.kind


def test_a_stored_key_has_a_field_for_each_column():
    fields = [field.name for field in dataclasses.fields(StoredKey)]

    assert fields == [column.name for column in tables.keys.columns]


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
    assert [key for key in keys if key[-5:].encode() in on_disk] == []
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
