"""How models did, for everybody or for keys only."""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.api.errors import ErrorBoundary
from groxy.api.statistics import HOURS, Statistics, percentile
from groxy.policy.keys import Caller, Keyring, KnownKey
from groxy.store import counts
from groxy.store.database import Database
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.inprocess import KEY, ask
from tests.store.rows import attempt_entry

HOUR_MS = 3_600_000
NOW_MS = 500_000 * HOUR_MS + 1_000
DOWN = "upstream_unavailable"


class Desk:
    """Statistics over a database, with a clock that stands still."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now_ms = NOW_MS
        self.is_public = True
        self.numbers = count()
        keyring = Keyring(lambda key: key.encode())
        keyring.replace([KnownKey(digest=KEY.encode(), caller=Caller(key_id="k", name="k"))])
        statistics = Statistics(
            database,
            keyring,
            is_public=lambda: self.is_public,
            is_known=lambda model: model.startswith("grok"),
            clock=lambda: self.now_ms * 1_000_000,
        )
        self.app = ErrorBoundary(statistics)

    async def get(self, query: str = "", key: str | None = None) -> Any:
        return await ask(self.app, "GET", "/v1/statistics/models", key=key, query=query)

    async def models(self, query: str = "") -> Any:
        return (await self.get(query)).json["data"]

    async def write(self, **changes: Any) -> None:
        writer = entry_writer(self.database)
        given: dict[str, Any] = {"at_ms": NOW_MS, "account_id": "acc_secret", **changes}
        await writer.submit(Group([], [attempt_entry(f"req_{next(self.numbers)}", **given)]))
        await writer.close()


@pytest.fixture
async def desk(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    yield Desk(database)
    await database.close()


async def test_uptime_counts_what_upstreams_are_at_fault_for(desk):
    for outcome in ("ok", "ok", "ok", DOWN, "invalid_value", "client_disconnected"):
        await desk.write(outcome=outcome)

    (told,) = await desk.models()

    assert (told["model"], told["requests"], told["uptime"]) == ("grok-4.3", 4, 0.75)


async def test_latency_and_throughput_are_near_the_truth(desk):
    for n in range(1, 101):
        await desk.write(first_event_us=n * 10_000, output_tokens=n, duration_us=1_000_000)

    (told,) = await desk.models()

    assert told["first_event_ms"]["p50"] == pytest.approx(500, rel=0.1)
    assert told["first_event_ms"]["p90"] == pytest.approx(900, rel=0.1)
    assert told["first_event_ms"]["p99"] == pytest.approx(990, rel=0.1)
    assert told["tokens_per_s"]["p50"] == pytest.approx(50, rel=0.1)


async def test_a_model_that_never_answered_has_no_latency(desk):
    await desk.write(outcome=DOWN)

    (told,) = await desk.models()

    assert told["uptime"] == 0
    assert told["first_event_ms"] == {"p50": None, "p90": None, "p99": None}


async def test_hours_are_told_apart_when_asked_for(desk):
    await desk.write(outcome=DOWN, at_ms=NOW_MS - HOUR_MS)
    await desk.write()

    (told,) = await desk.models("series=true")
    (short,) = await desk.models()

    (week,) = await desk.models("series=true&hours=168")

    assert week["series"] == told["series"]
    assert [(one["at"], one["uptime"]) for one in told["series"]] == [
        (499_999 * 3600, 0),
        (500_000 * 3600, 1),
    ]
    assert "series" not in short


async def test_only_the_hours_asked_for_count(desk):
    await desk.write(at_ms=NOW_MS - 6 * HOUR_MS)

    assert await desk.models("hours=6") == []
    assert len(await desk.models("hours=12")) == 1


async def test_nobody_learns_of_accounts_upstreams_or_callers_words(desk):
    await desk.write(upstream="openrouter", model_sent="x-ai/grok-4")
    await desk.write(model_sent="my-secret-project")

    body = (await desk.get("series=true")).body

    assert b'"grok-4"' in body
    assert not any(word in body for word in (b"acc_", b"openrouter", b"x-ai", b"project"))


async def test_without_the_setting_a_key_is_needed(desk):
    desk.is_public = False

    assert (await desk.get()).status == 401
    assert (await desk.get(key="sk-wrong")).status == 401
    assert (await desk.get(key=KEY)).status == 200


async def test_answers_are_kept_for_half_a_minute(desk):
    assert await desk.models() == []
    await desk.write()
    desk.now_ms += 29_000
    kept = await desk.models()
    desk.now_ms += 2_000

    assert kept == []
    assert len(await desk.models()) == 1


async def test_of_many_who_ask_at_once_one_looks(desk, monkeypatch):
    reads = []

    async def read(database, **more):
        reads.append(more)
        return []

    monkeypatch.setattr("groxy.api.statistics.hours_of_models", read)
    await asyncio.gather(*(desk.get() for _ in range(50)))

    assert len(reads) == 1


@pytest.mark.parametrize(
    ("query", "param"),
    [
        *(
            (f"hours={text}", "hours")
            for text in ("0", "-1", "25", "NaN", "1e3", "2.0", "true", "9" * 50)
        ),
        ("series=maybe", "series"),
    ],
)
async def test_other_figures_are_refused_by_name(desk, query, param):
    answer = await desk.get(query)

    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("hours", HOURS)
async def test_every_figure_of_hours_that_is_offered_works(desk, hours):
    assert (await desk.get(f"hours={hours}")).json["hours"] == hours


@given(values=st.lists(st.floats(0, 1e7), min_size=1, max_size=200), percent=st.integers(1, 100))
def test_a_percentile_is_within_a_tenth(values, percent):
    buckets: dict[int, int] = {}
    for value in values:
        bucket = counts.bucket_of(value)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    exact = sorted(values)[-(-len(values) * percent // 100) - 1]

    assert percentile(buckets, percent) == pytest.approx(exact, rel=0.1, abs=0.2)


def test_of_nothing_there_is_no_percentile():
    assert percentile({}, 50) is None
