from datetime import UTC, datetime

import sqlalchemy as sa

from groxy.store import tables
from groxy.store.spending import NOTHING, Spent, spent_of

_KEYS = ("day", "user_id", "key_id", "model", "app")
WEDNESDAY = datetime(2026, 4, 1, 0, 0, 0, tzinfo=UTC)


def ms(moment):
    return int(moment.timestamp() * 1000)


async def enter(database, *rows):
    zeros = {one.name: 0 for one in tables.usage_days.columns if one.name not in _KEYS}
    full = [
        {"user_id": "", "model": model, "app": "", **zeros, "day": day, "key_id": key_id}
        | {"charge_ticks": ticks, "cost_ticks": 999}
        for key_id, day, model, ticks in rows
    ]
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.usage_days), full)


async def test_what_was_spent_is_summed_by_day_week_month_and_in_all(database):
    await enter(
        database,
        ("key_a", 20260401, "m", 1),
        ("key_a", 20260401, "n", 2),
        ("key_a", 20260331, "m", 10),  # Tuesday, of the month before
        ("key_a", 20260330, "m", 100),  # Monday
        ("key_a", 20260329, "m", 1_000),  # Sunday, of the week before
        ("key_a", 20250401, "m", 2**52),
        ("key_b", 20260330, "m", 5),
    )

    found = await spent_of(database, ["key_a", "key_b", "key_c"], ms(WEDNESDAY))

    assert found == {
        "key_a": Spent(day=3, week=113, month=3, total=2**52 + 1_113),
        "key_b": Spent(week=5, total=5),
        "key_c": NOTHING,
    }
    assert "Decimal" not in repr(found)


async def test_a_day_ends_at_midnight_utc(database):
    await enter(database, ("key_a", 20260401, "m", 1))

    late = await spent_of(database, ["key_a"], ms(WEDNESDAY) + 86_399_999)
    next_day = await spent_of(database, ["key_a"], ms(WEDNESDAY) + 86_400_000)

    assert (late["key_a"].day, next_day["key_a"].day, next_day["key_a"].week) == (1, 0, 1)


async def test_of_no_keys_there_is_nothing(database):
    assert await spent_of(database, [], ms(WEDNESDAY)) == {}


async def test_of_more_keys_than_a_statement_takes_all_are_found(database):
    ids = [f"key_{number}" for number in range(1_100)]
    await enter(database, *((one, 20260401, "m", 7) for one in ids))

    found = await spent_of(database, ids, ms(WEDNESDAY))

    assert {one.day for one in found.values()} == {7}
    assert len(found) == 1_100
