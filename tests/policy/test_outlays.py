import pytest

from groxy.core.grants import Caps, KeyGrant
from groxy.policy.outlays import Outlay, outlays_of
from groxy.store.database import Database
from groxy.store.keys import KeyRole, create_key
from groxy.store.ledger import Entry, Move, enter
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
NOW_MS = 1_775_001_600_000
"""The first of April 2026."""


@pytest.fixture
async def database(tmp_path):
    opened = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    yield opened
    await opened.close()


async def make(database, **caps):
    grant = KeyGrant(caps=Caps(**caps))
    return (await create_key(database, SECRET, name="k", role=KeyRole.CALLER, grant=grant))[1]


async def test_a_key_that_spent_nothing_has_all_of_its_caps_left(database):
    key, free = await make(database, day=5, week=6, month=7, total=8), await make(database)

    found = await outlays_of(database, [key, free], NOW_MS)

    assert found == {key.id: Outlay(left=key.grant.caps), free.id: Outlay()}


async def test_a_balance_counts_and_what_is_left_is_never_below_nothing(database):
    key = await make(database, day=5, total=8)
    entry = Entry("charge:1", 1, "charge", "house", "sales", 9, "", key.id, "", "")
    moves = [Move(f"spend:{key.id}:total", -9), Move(f"spend:{key.id}:day:2026-04-01", -2)]
    async with database.transaction() as connection:
        await enter(connection, [entry], moves)

    found = await outlays_of(database, [key], NOW_MS)
    later = await outlays_of(database, [key], NOW_MS + 86_400_000)

    assert found[key.id].left == Caps(day=3, total=0)
    assert later[key.id].left == Caps(day=5, total=0)


async def test_of_no_keys_there_are_no_outlays(database):
    assert await outlays_of(database, [], NOW_MS) == {}
