"""What callers are told of their own usage."""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from groxy.api.activity import day_text, number_of
from groxy.store import tables
from groxy.store.counts import DAY_SUMS
from tests.api.household import household
from tests.inprocess import KEY

NO_SUMS = dict.fromkeys(DAY_SUMS, 0)


@pytest.fixture
async def house(tmp_path):
    async with household(tmp_path) as it:
        yield it


@pytest.fixture
async def today():
    """Return the day that it is, and that it stays for as long as a test takes."""
    left_s = 86_400 - time.time() % 86_400
    await asyncio.sleep(left_s if left_s < 10 else 0)
    return datetime.now(UTC).date()


async def fill(house, today, *lines):
    rows = [
        {"day": number_of(today), "user_id": "", "key_id": "k", "model": "grok-4", "app": ""}
        | NO_SUMS
        | line
        for line in lines
    ]
    async with house.app.database.transaction() as connection:
        await connection.execute(sa.insert(tables.usage_days), rows)


async def test_a_key_sees_what_all_keys_of_its_user_used(house, today):
    secret, key = await house.key(house.ada.id)
    used = {"requests": 1, "charge_ticks": 5, "cost_ticks": 1, "input_tokens": 10}
    await fill(
        house,
        today,
        {"user_id": house.ada.id, "key_id": key.id} | used,
        {"user_id": house.ada.id, "key_id": "another"} | used,
        {"user_id": house.bob.id, "key_id": "bobs"} | used,
        {"user_id": house.ada.id, "key_id": key.id, "app": "App"} | used,
    )
    for asked_with in (secret, await house.session(house.ada)):
        (row,) = (await house.ask("GET", "/v1/activity", key=asked_with)).json["data"]

        assert (row["date"], row["model"]) == (today.isoformat(), "grok-4")
        assert (row["requests"], row["prompt_tokens"]) == (3, 30)


async def test_amounts_are_exact_decimals(house, today):
    secret, _ = await house.key(house.ada.id)
    ticks = 2**53 + 1
    await fill(house, today, {"user_id": house.ada.id, "charge_ticks": ticks, "cost_ticks": 9})

    body = (await house.ask("GET", "/api/v1/activity", key=secret)).body

    assert b'"usage":900719.9254740993,' in body


async def test_a_key_of_nobody_sees_its_own_cost_alone(house, today):
    _, key = await house.key("")
    await fill(house, today, {"key_id": "settings-1", "cost_ticks": 10**10}, {"key_id": key.id})

    (row,) = (await house.ask("GET", "/v1/activity", key=KEY)).json["data"]

    assert (row["usage"], row["byok_usage_inference"]) == (1, 0)


async def test_the_newest_of_30_days_come_first_and_older_ones_never(house, today):
    secret, _ = await house.key(house.ada.id)
    days = [today - timedelta(days=back) for back in (0, 1, 29, 30)]
    await fill(house, today, *({"user_id": house.ada.id, "day": number_of(day)} for day in days))

    rows = (await house.ask("GET", "/v1/activity", key=secret)).json["data"]
    one = (await house.ask("GET", "/v1/activity", key=secret, query=f"date={days[1]}")).json["data"]

    assert [row["date"] for row in rows] == [day.isoformat() for day in days[:3]]
    assert [row["date"] for row in one] == [days[1].isoformat()]


async def test_what_failed_before_any_attempt_is_no_model(house, today):
    secret, _ = await house.key(house.ada.id)
    await fill(house, today, {"user_id": house.ada.id, "model": "", "requests": 4, "errors": 4})

    assert (await house.ask("GET", "/v1/activity", key=secret)).json == {"data": []}


@pytest.mark.parametrize(
    "asked",
    ["", "x", "2026-13-01", "20261125", "2026-1-1", "9999-12-31", "0001-01-01", "NaN", "\0"],
)
async def test_another_date_is_refused_by_name(house, asked):
    answer = await house.ask("GET", "/v1/activity", key=KEY, query=f"date={asked or '-'}")

    assert (answer.status, answer.error["param"]) == (400, "date")


async def test_strangers_see_nothing(house):
    assert (await house.ask("GET", "/v1/activity")).status == 401
    assert (await house.ask("GET", "/v1/activity", key="sk-grok-x")).status == 401


def test_days_are_written_as_people_do():
    assert day_text(number_of(date(2026, 1, 5))) == "2026-01-05"
