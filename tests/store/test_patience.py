import asyncio
import random
import time

import pytest
import sqlalchemy as sa

from groxy.store.database import Database, bump


@pytest.fixture
async def database(tmp_path):
    opened = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    yield opened
    await opened.close()


async def write(database):
    async with database.transaction() as connection:
        await bump(connection, "one")
        await connection.execute(sa.text("SELECT 1"))
        await bump(connection, "two")


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_cancelled_while_writing_leaves_no_lock_behind(database, seed):
    chance = random.Random(seed)
    for _ in range(100):
        tasks = [asyncio.ensure_future(write(database)) for _ in range(4)]
        await asyncio.sleep(chance.random() * 0.01)
        for task in tasks:
            if chance.random() < 0.7:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        began = time.perf_counter()
        await write(database)

        assert time.perf_counter() - began < 5.0


async def test_a_cancelled_transaction_is_not_committed(database):
    async def begun(connected):
        async with database.transaction() as connection:
            await bump(connection, "one")
            connected.set()
            await asyncio.sleep(30)

    connected = asyncio.Event()
    task = asyncio.ensure_future(begun(connected))
    await connected.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert await database.revision("one") == 0


async def test_a_deadline_is_kept_though_the_call_is_finished(database):
    async def long():
        async with asyncio.timeout(0.001):
            for _ in range(1000):
                await database.revisions()

    with pytest.raises(TimeoutError):
        await long()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_whoever_is_cancelled_in_a_call_is_cancelled_behind_it(database):
    ended = []

    async def long():
        for _ in range(10_000):
            await database.revisions()
        ended.append(1)

    task = asyncio.ensure_future(long())
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert ended == []
