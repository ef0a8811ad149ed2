"""What is known of a film on its way: what it costs, how far it is, and its lines for the books."""

import time
from dataclasses import replace
from typing import Any

import pytest

from groxy.core.media import FilmState, FilmStatus
from groxy.core.money import MediaPrice
from groxy.gateway.reel import Reel, read_reel, trail_of, write_reel
from groxy.store.jobs import Job

PRICE = MediaPrice(per_image={}, per_second={"480p": 5, "720p": 7}, per_input_image=2)


def done(ticks=None):
    return FilmState(status=FilmStatus.DONE, progress=100, cost_ticks=ticks)


def reel(**changes):
    usual: dict[str, Any] = {"model": "m", "seconds": 6, "part_s": 6, "resolution": "720p"}
    made = Reel(**(usual | changes))
    made.note_price(PRICE)
    return made


@pytest.mark.parametrize(
    ("parts", "changes", "cost"),
    [
        ([(done(99), 6)], {}, (99, "upstream")),
        ([(done(0), 6)], {}, (0, "upstream")),
        ([(done(), 6)], {}, (42, "catalog")),
        ([(done(), 6)], {"resolution": "480p"}, (30, "catalog")),
        ([(done(), 6)], {"resolution": ""}, (42, "catalog")),
        ([(done(), 6)], {"references": 3}, (48, "catalog")),
        ([(done(10), 10), (done(6), 6)], {"seconds": 16}, (16, "upstream")),
        ([(done(10), 10), (done(), 6)], {"seconds": 16}, (52, "catalog")),
        ([], {}, (0, "none")),
    ],
)
def test_a_film_costs_what_was_billed_else_what_the_catalog_says(parts, changes, cost):
    made = reel(**changes)
    for state, seconds in parts:
        made.note_made(state, seconds)
    assert made.cost() == cost


def test_without_bill_and_price_a_film_costs_nothing():
    made = Reel(model="m", seconds=6)
    made.note_price(None)
    made.note_made(done(), 6)
    assert made.cost() == (0, "none")


@pytest.mark.parametrize(
    ("made_s", "part_s", "percent", "shown"),
    [(0, 6, 0, 1), (0, 6, 50, 50), (0, 6, 100, 99), (0, 3, 100, 50), (3, 3, 0, 50), (3, 3, 50, 75)],
)
def test_progress_is_that_of_the_whole_film(made_s, part_s, percent, shown):
    state = FilmState(status=FilmStatus.PENDING, progress=percent)
    assert reel(made_s=made_s, part_s=part_s).progress(state) == shown


def test_a_reel_comes_back_as_it_was_kept():
    made = reel(prefer_tags=("a",), app_title="t")
    made.begin_take(upstream="xai", account_id="a", model_sent="m", at_ms=1)
    made.end_take("ok", 5)
    assert read_reel(write_reel(made)) == made
    assert read_reel(write_reel(Reel(model="m", seconds=6))).takes == []


def test_how_a_take_ended_is_noted_once():
    made = reel()
    made.end_take("nothing", 1)
    take = made.begin_take(upstream="xai", account_id="a", model_sent="m", at_ms=1)
    made.end_take("first", 2)
    made.end_take("second", 3)
    assert (take.outcome, take.ended_ms) == ("first", 2)


def test_the_books_have_the_film_as_one_request_from_order_to_end():
    now_ms = time.time_ns() // 1_000_000
    made = reel()
    refused = made.begin_take(upstream="xai", account_id="a", model_sent="m", at_ms=now_ms - 9_000)
    refused.status = 429
    made.end_take("upstream_rate_limited", now_ms - 8_900)
    take = made.begin_take(upstream="xai", account_id="b", model_sent="m", at_ms=now_ms - 8_000)
    take.status, take.taken_ms = 200, now_ms - 7_500
    take.cost_ticks, take.cost_source = 42, "catalog"
    made.end_take("ok", now_ms - 1_000)
    job = Job(
        id="video_1",
        kind="video",
        owner="key-1",
        status="stored",
        created_ms=now_ms - 10_000,
        updated_ms=now_ms,
        expires_ms=now_ms + 1,
        request_id="req_1",
    )
    entry, attempts = trail_of(job, made).entries(outcome="ok", status=200, is_owed=True)
    assert (entry.id, entry.key_id, entry.dialect, entry.at_ms) == (
        "req_1",
        "key-1",
        "videos",
        job.created_ms,
    )
    assert (entry.account_id, entry.attempts, entry.cost_ticks) == ("b", 2, 42)
    assert entry.duration_us == pytest.approx(10_000_000, rel=0.1)
    assert [one.outcome for one in attempts] == ["upstream_rate_limited", "ok"]
    assert [one.status for one in attempts] == [429, 200]
    assert attempts[1].duration_us == pytest.approx(7_000_000, rel=0.1)
    assert attempts[1].first_event_us == pytest.approx(500_000, rel=0.2)
    unpaid, _ = trail_of(replace(job), made).entries(outcome="x", status=502, is_owed=False)
    assert unpaid.cost_ticks == 0
