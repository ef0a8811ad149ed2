"""What the operator is told of usage."""

import csv
import io

import pytest
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.counts import DAY_SUMS
from tests.admin.window import CALLER_KEY, opened

SUMS = dict.fromkeys(DAY_SUMS, 0)
SPAN = "from=2025-01-01&to=2025-12-31"


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


async def fill(window, *lines):
    plain = {"day": 20250105, "user_id": "", "key_id": "key_1", "model": "grok-4", "app": ""}
    async with window.desk.database.transaction() as connection:
        await connection.execute(
            sa.insert(tables.usage_days), [plain | SUMS | line for line in lines]
        )


async def test_sums_are_told_with_money_exactly(window):
    await fill(
        window,
        {"requests": 3, "errors": 1, "cost_ticks": 2**53 - 1, "duration_us": 3_000},
        {
            "app": "x",
            "requests": 1,
            "charge_ticks": 10**10,
            "duration_us": 1_000,
            "input_tokens": 7,
        },
    )

    told = (await window.get("/usage", query=SPAN)).json

    (row,) = told["rows"]
    assert (told["from"], told["to"], told["by"]) == ("2025-01-01", "2025-12-31", ["day"])
    assert (row["day"], row["user"], row["model"]) == ("2025-01-05", None, None)
    assert (row["requests"], row["errors"], row["tokens"]["input"]) == (4, 1, 7)
    assert (row["cost_usd"], row["charge_usd"]) == ("900719.9254740991", "1")
    assert (row["margin_ticks"], row["margin_usd"]) == (10**10 - 2**53 + 1, "-900718.9254740991")
    assert row["mean_latency_ms"] == 1
    assert told["next"] is None


async def test_usage_is_told_apart_by_what_is_asked_for(window):
    await fill(window, {"model": "a"}, {"model": "b"}, {"model": "b", "user_id": "usr_1"})

    told = (await window.get("/usage", query=f"{SPAN}&by=user, model")).json

    assert [(row["user"], row["model"]) for row in told["rows"]] == [
        ("", "a"),
        ("", "b"),
        ("usr_1", "b"),
    ]


async def test_without_groups_all_is_one_sum(window):
    await fill(window, {"requests": 1}, {"requests": 2, "model": "b"})

    (row,) = (await window.get("/usage", query=f"{SPAN}&by=")).json["rows"]

    assert row["requests"] == 3


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("key=key_2", 2),
        (f"key={CALLER_KEY}", 4),
        ("user=usr_1", 8),
        ("user=", 7),
        ("model=b", 16),
        ("app=x", 32),
        ("app=", 31),
        ("app=x&model=b", 0),
        ("user=%00", 0),
    ],
)
async def test_filters_leave_out_the_rest(window, query, requests):
    await fill(
        window,
        {"requests": 1},
        {"requests": 2, "key_id": "key_2"},
        {"requests": 4, "key_id": window.desk.callers.identify(None, CALLER_KEY).key_id},
        {"requests": 8, "user_id": "usr_1"},
        {"requests": 16, "model": "b", "user_id": "usr_2"},
        {"requests": 32, "app": "x", "user_id": "usr_2"},
    )

    rows = (await window.get("/usage", query=f"{SPAN}&by=&{query}")).json["rows"]

    assert sum(row["requests"] for row in rows) == requests


async def test_pages_go_on_at_the_cursor(window):
    await fill(window, *({"key_id": f"key_{n}", "day": 20250101 + n} for n in range(5)))
    found, cursor = [], ""
    for _ in range(5):
        query = f"{SPAN}&by=key,day&limit=2&cursor={cursor}"
        page = (await window.get("/usage", query=query)).json
        found += [row["key"] for row in page["rows"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert found == [f"key_{n}" for n in range(5)]


async def test_csv_has_the_same_and_no_formula(window):
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", 'a"b,c', "größer"]
    await fill(window, *({"app": app, "cost_ticks": 5} for app in evil))

    answer = await window.get("/usage", query=f"{SPAN}&by=app&format=csv")
    head, *rows = csv.reader(io.StringIO(answer.body.decode(), newline=""))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert head[0] == "app"
    assert len(rows) == len(evil)
    assert not any(row[0].startswith(("=", "+", "-", "@", "\t")) for row in rows)
    assert {"'=1+1", 'a"b,c', "größer"} <= {row[0] for row in rows}
    assert {row[head.index("margin_usd")] for row in rows} == {"-0.0000000005"}


async def test_csv_says_where_to_go_on(window):
    await fill(window, {"key_id": "a"}, {"key_id": "b"})
    query = f"{SPAN}&by=key&format=csv&limit=1"
    first = await window.get("/usage", query=query)
    second = await window.get("/usage", query=f"{query}&cursor={first.headers['x-next-cursor']}")

    assert second.body.splitlines()[1].startswith(b"b,")
    assert "x-next-cursor" not in second.headers


async def test_the_last_30_days_are_told_when_nothing_is_asked_for(window):
    told = (await window.get("/usage")).json
    early = (await window.get("/usage", query="to=0001-01-02")).json

    assert told["rows"] == []
    assert (early["from"], early["to"]) == ("0001-01-01", "0001-01-02")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=x", "from"),
        ("from=2025-1-1", "from"),
        ("from=20250101", "from"),
        ("to=2025-02-30", "to"),
        ("to=NaN", "to"),
        ("from=2025-02-02&to=2025-02-01", "from"),
        ("from=1000-01-01", "from"),
        ("by=week", "by"),
        ("by=day,day", "by"),
        ("cursor=x", "cursor"),
        ("cursor=bnVsbA==", "cursor"),
        ("cursor=WyJhIl0=", "cursor"),
        ("cursor=WzFlOTld", "cursor"),
        ("cursor=Wzk5OTk5OTk5OTk5XQ==", "cursor"),
        ("cursor=WzEsMl0=", "cursor"),
        ("limit=0", "limit"),
        ("limit=1e3", "limit"),
        ("format=xml", "format"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(window, query, param):
    answer = await window.get("/usage", query=query)

    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_callers_key_opens_nothing(window):
    assert (await window.get("/usage", key=CALLER_KEY)).status == 401
