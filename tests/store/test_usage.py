"""Sums of days and hours, on both databases."""

import random
import sqlite3
import time
from itertools import groupby, product

import pytest
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.counts import DAY_SUMS
from groxy.store.database import Database
from groxy.store.usage import (
    GROUPS,
    BucketRow,
    Sums,
    UsageFilter,
    UsagePage,
    hours_of_models,
    sum_usage,
)
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry

YEAR = UsageFilter(first_day=20250101, last_day=20251231)
HOUR_MS = 3_600_000


def day_line(day=20250105, user="user_1", key="key_1", model="grok-4", app="", number=1):
    sums = {name: number * (place + 1) for place, name in enumerate(DAY_SUMS)}
    return {"day": day, "user_id": user, "key_id": key, "model": model, "app": app, **sums}


async def fill(database, lines):
    async with database.transaction() as connection:
        await connection.execute(sa.insert(tables.usage_days), lines)


def some_lines():
    """Return lines of every combination, each with a number of its own."""
    parts = product((20250105, 20250106, 20250201), ("", "user_1", "user_2"), "ab", "mn", ("", "x"))
    return [
        day_line(day, user, f"key_{user}_{key}", model, app, number)
        for number, (day, user, key, model, app) in enumerate(parts, 1)
    ]


def added_up(lines, by):
    """Return what the sums must be, added up the plain way."""
    columns = [GROUPS[name] for name in by]

    def group_of(line):
        return tuple(line[name] for name in columns)

    return [
        (group, Sums(*(sum(column) for column in zip(*map(sums_in, found), strict=True))))
        for group, found in groupby(sorted(lines, key=group_of), group_of)
    ]


def sums_in(line):
    return [line[name] for name in DAY_SUMS]


BYS = [(), *((name,) for name in GROUPS), ("key", "day"), ("model", "app"), ("user", "model")]


@pytest.mark.parametrize("by", BYS, ids="-".join)
async def test_usage_is_added_up_by_anything(database, by):
    lines = some_lines()
    await fill(database, lines)

    page = await sum_usage(database, YEAR, by)

    assert [(row.group, row.sums) for row in page.rows] == added_up(lines, by)
    assert all(type(value) is int for row in page.rows for value in row.sums)
    assert page.next == ()


@pytest.mark.parametrize("by", BYS[1:], ids="-".join)
async def test_pages_go_on_where_the_last_one_ended(database, by):
    lines = some_lines()
    await fill(database, lines)
    found: list[tuple[tuple[int | str, ...], Sums]] = []
    after: tuple[int | str, ...] = ()
    for _ in range(100):
        page = await sum_usage(database, YEAR, by, after=after, limit=2)
        found += [(row.group, row.sums) for row in page.rows]
        after = page.next
        if not after:
            break

    assert found == added_up(lines, by)


@pytest.mark.parametrize(
    "wanted",
    [
        {"user_id": "user_1"},
        {"user_id": ""},
        {"key_id": "key_user_2_b"},
        {"model": "m"},
        {"app": ""},
        {"app": "x", "model": "n", "user_id": "user_2"},
        {"first_day": 20250106},
        {"last_day": 20250106},
        {"model": "none"},
    ],
    ids=str,
)
async def test_only_what_fits_counts(database, wanted):
    lines = some_lines()
    await fill(database, lines)
    given = {"first_day": 20250101, "last_day": 20251231, **wanted}
    fitting = [
        line
        for line in lines
        if given["first_day"] <= line["day"] <= given["last_day"]
        and all(line[name] == value for name, value in wanted.items() if name[-4:] != "_day")
    ]

    for by in (("day",), ("app",)):
        page = await sum_usage(database, UsageFilter(**given), by)
        assert [(row.group, row.sums) for row in page.rows] == added_up(fitting, by)


@pytest.mark.parametrize("by", BYS, ids="-".join)
async def test_without_requests_there_is_no_row(database, by):
    assert await sum_usage(database, YEAR, by) == UsagePage()


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "' OR '1'='1"])
async def test_no_text_can_do_harm(database, text):
    await fill(database, some_lines())
    given = UsageFilter(first_day=20250101, last_day=20251231, model=text)

    assert (await sum_usage(database, given, ("model",))).rows == []


async def test_money_stays_exact_beyond_what_doubles_hold(database):
    large = 2**53 - 1
    lines = [day_line(key=f"key_{n}") | {"cost_ticks": large, "charge_ticks": 1} for n in range(9)]
    await fill(database, lines)

    (row,) = (await sum_usage(database, YEAR, ())).rows

    assert row.sums.cost_ticks == 9 * large
    assert row.sums.margin_ticks == 9 - 9 * large


async def test_what_was_written_with_requests_is_what_is_added_up(database):
    writer = entry_writer(database)
    lines = [
        request_entry(f"req_{n}", user_id="user_1", cost_ticks=5, charge_ticks=7) for n in range(3)
    ]
    await writer.submit(Group(lines, []))
    await writer.close()

    page = await sum_usage(database, UsageFilter(first_day=20250101, last_day=20251231), ("user",))

    (row,) = page.rows
    assert row.group == ("user_1",)
    assert (row.sums.requests, row.sums.cost_ticks, row.sums.charge_ticks) == (3, 15, 21)
    assert row.sums.mean_us == lines[0].duration_us


def test_the_mean_of_nothing_is_nothing():
    assert Sums().mean_us == 0


# ----------------------------------------------------------------------------------------- hours


async def test_hours_are_added_up_and_others_left_out(database):
    writer = entry_writer(database)
    attempts = [
        attempt_entry(f"req_{n}", at_ms=hour * HOUR_MS, first_event_us=0, duration_us=0)
        for n, hour in enumerate((6, 7, 8, 8, 9))
    ]
    await writer.submit(Group([], attempts))
    await writer.close()

    found = await hours_of_models(database, first_hour=7, last_hour=8)

    assert found == [BucketRow("grok-4.3", "ok", 0, 3)]


# ----------------------------------------------------------------------------------- a whole year


async def test_a_year_of_heavy_use_is_added_up_without_sorting_all_of_it(tmp_path):
    """A tenth of what is measured by hand; see docs/guide/usage.md."""
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    chance = random.Random(1)
    keys = [(f"user_{n // 2:024}", f"key_{n:024}") for n in range(600)]
    with sqlite3.connect(tmp_path / "groxy.db") as connection:
        rows = [
            (20250000 + month * 100 + day, *key, chance.choice("abcd"), "", *[1] * len(DAY_SUMS))
            for month, day in product(range(1, 13), range(1, 29))
            for key in chance.sample(keys, 298)
        ]
        marks = ", ".join("?" * (5 + len(DAY_SUMS)))
        connection.executemany(f"INSERT INTO usage_days VALUES ({marks})", rows)
    began = time.perf_counter()
    sums = {by: await sum_usage(database, YEAR, (by,)) for by in GROUPS}
    took_s = time.perf_counter() - began
    await database.close()

    assert {sum(row.sums.requests for row in page.rows) for page in sums.values()} == {len(rows)}
    assert took_s < 5
