import pytest
import sqlalchemy as sa

from groxy.store.database import bump
from groxy.store.news import read_rows_since

NAME = "things"
THINGS = sa.Table(
    NAME,
    sa.MetaData(),
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("is_live", sa.Boolean, nullable=False),
)


@pytest.fixture
async def things(database):
    async with database.engine.begin() as connection:
        await connection.run_sync(THINGS.create)
    return database


async def put(database, *rows, is_live=True):
    """Insert rows, which bear the revision that this change gets."""
    async with database.transaction() as connection:
        revision = await bump(connection, NAME)
        values = [{"id": one, "revision": revision, "is_live": is_live} for one in rows]
        await connection.execute(sa.insert(THINGS), values)


async def read(database, revision):
    found = []
    async with database.transaction() as connection:
        news = await read_rows_since(
            connection,
            THINGS,
            NAME,
            revision,
            take=lambda row: found.append(row["id"]),
            live=THINGS.c.is_live,
        )
    return found, news.revision, news.is_whole


async def test_of_all_rows_the_live_ones_are_read_and_of_changed_ones_each(things):
    await put(things, "a", "b")
    await put(things, "dead", is_live=False)

    assert await read(things, 0) == (["a", "b"], 2, True)
    assert await read(things, 1) == (["dead"], 2, False)
    assert await read(things, 2) == ([], 2, False)


async def test_an_empty_table_is_read_as_a_whole(things):
    assert await read(things, 0) == ([], 0, True)


async def test_a_revision_that_lies_ahead_gives_all(things):
    await put(things, "a")

    assert await read(things, 5) == (["a"], 1, True)


async def test_a_change_that_no_row_bears_gives_all_until_one_does(things):
    await put(things, "a")
    async with things.transaction() as connection:
        await bump(connection, NAME)
    assert await read(things, 1) == (["a"], 2, True)

    await put(things, "b")
    assert await read(things, 2) == (["b"], 3, False)


async def test_more_rows_than_one_statement_has_come_in_their_order(things):
    names = [f"{number:05}" for number in range(1_200)]
    await put(things, *names[:700])
    await put(things, *names[700:])

    assert await read(things, 0) == (names, 2, True)
    assert await read(things, 1) == (names[700:], 2, False)
