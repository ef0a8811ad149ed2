import math

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind
from groxy.store import counts, tables
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry

DAY_MS = 86_400_000


async def rows_of(database, table):
    async with database.transaction() as connection:
        return [tuple(row) for row in await connection.execute(sa.select(table))]


async def test_requests_of_one_day_key_model_and_app_are_one_row(database):
    writer = entry_writer(database)
    one = request_entry("req_1", user_id="usr_1", charge_ticks=5, cost_ticks=3, duration_us=10)
    two = one._replace(id="req_2", charge_ticks=7, outcome="upstream_unavailable")
    await writer.submit(Group([one, two], []))
    await writer.submit(Group([one._replace(id="req_3")], []))
    await writer.close()

    rows = await rows_of(database, tables.usage_days)

    assert rows == [
        (20250718, "usr_1", "key_1", "grok-4.3-0430", "My App", 3, 1, 33, 21, 39, 15, 9, 17, 30)
    ]


@pytest.mark.parametrize(
    ("changes", "place", "value"),
    [
        ({"at_ms": 1_752_854_522_001 + DAY_MS}, 0, 20250719),
        ({"key_id": "key_2"}, 2, "key_2"),
        ({"model_served": ""}, 3, "grok-4.3"),
        ({"app_title": "", "app_url": "https://chat.example/a?b"}, 4, "chat.example"),
        ({"app_title": "", "app_url": "http://[nonsense"}, 4, ""),
        ({"app_title": "", "app_url": ""}, 4, ""),
    ],
)
def test_a_request_is_counted_under_what_it_was(changes, place, value):
    (row,) = counts.day_rows([request_entry(**changes)])

    assert row[place] == value


def test_a_client_that_left_is_no_error():
    (row,) = counts.day_rows([request_entry(outcome=ErrorKind.CANCELLED.value)])

    assert row[6] == 0


def test_names_that_nobody_checked_do_not_make_rows():
    requests = [
        request_entry(
            f"req_{number}",
            model_asked=f"made-up-{number}",
            model_sent="",
            model_served="",
            outcome=ErrorKind.UNKNOWN_MODEL.value,
            attempts=0,
        )
        for number in range(50)
    ]

    assert len(counts.day_rows(requests)) == 1


def test_made_up_counts_do_not_burst_a_sum():
    (row,) = counts.day_rows(
        [request_entry(f"req_{number}", input_tokens=2**63 - 1) for number in range(100)]
    )

    assert row[7] < 2**63


def test_an_attempt_that_served_is_counted_with_its_latency_and_speed():
    rows = counts.hour_rows([attempt_entry(model_sent="x-ai/grok-4.3")])

    hour = 1_752_854_522_002 // 3_600_000
    assert [row[1:3] for row in rows] == [("grok-4.3", name) for name in ("first", "ok", "speed")]
    assert {row[0] for row in rows} == {hour}
    assert {row[4] for row in rows} == {1}


@pytest.mark.parametrize(
    ("kind", "measures"),
    [
        (ErrorKind.UPSTREAM_DOWN, ["failed"]),
        (ErrorKind.UPSTREAM_TIMEOUT, ["failed"]),
        (ErrorKind.BAD_REQUEST, []),
        (ErrorKind.UPSTREAM_AUTH, []),
        (ErrorKind.CANCELLED, []),
    ],
)
def test_only_an_upstreams_own_fault_counts_against_a_model(kind, measures):
    rows = counts.hour_rows([attempt_entry(outcome=kind.value)])

    assert [row[2] for row in rows] == measures


@pytest.mark.parametrize("value", [0.0, 1.0, 20.0, 345.0, 60_000.0, 3_600_000.0])
def test_a_bucket_is_near_the_values_in_it(value):
    assert math.isclose(counts.value_of(counts.bucket_of(value)) + 1, value + 1, rel_tol=0.095)


async def test_hours_are_added_up(database):
    writer = entry_writer(database)
    for number in range(3):
        await writer.submit(
            Group([request_entry(f"req_{number}")], [attempt_entry(f"req_{number}")])
        )
    await writer.close()

    rows = await rows_of(database, tables.model_hours)

    assert {row[4] for row in rows} == {3}
