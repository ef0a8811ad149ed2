import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.overrides import OVERRIDES, read_overrides, write_overrides
from groxy.store.secrets import InstallationSecret
from tests.store.rows import rows_of

SECRET = InstallationSecret(b"s" * 32)
OTHER = InstallationSecret(b"o" * 32)


async def write(database, **changes):
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return await write_overrides(database, SECRET, named)


async def test_values_come_back_as_they_were_written(database):
    values = {"a.b": 5, "a.c": "größer", "b": [1, {"x": False}], "c": 0, "d": "", "e": 1.5}

    await write_overrides(database, SECRET, values)

    assert await read_overrides(database, SECRET) == values
    assert list(await read_overrides(database, SECRET)) == sorted(values)


async def test_a_change_replaces_adds_and_gives_back(database):
    await write(database, a__b=1, a__c=2)
    await write(database, a__b=None, a__c=3, a__d=4, a__nobody=None)

    assert await read_overrides(database, SECRET) == {"a.c": 3, "a.d": 4}


async def test_each_change_has_its_revision(database):
    revisions = [await write(database, a=1), await write(database, a=1), await write(database)]

    assert revisions == [1, 2, 0]
    assert await database.revision(OVERRIDES) == 2


async def test_a_value_is_nowhere_in_the_file(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    await write(database, proxy__url="http://user:hush-hush@proxy")
    await database.close()

    ((name, sealed),) = rows_of(tmp_path / "groxy.db", "SELECT name, sealed FROM overrides")
    assert name == "proxy.url"
    assert b"hush-hush" not in sealed
    assert b"hush-hush" not in (tmp_path / "groxy.db").read_bytes()


async def test_a_value_does_not_open_with_another_secret_or_under_another_name(database):
    await write(database, a=1)
    with pytest.raises(GroxyError) as other_secret:
        await read_overrides(database, OTHER)
    async with database.transaction() as connection:
        await connection.execute(sa.update(tables.overrides).values(name="b"))
    with pytest.raises(GroxyError) as other_name:
        await read_overrides(database, SECRET)

    kinds = {caught.value.kind for caught in (other_secret, other_name)}
    assert kinds == {ErrorKind.STORE_DOWN}
