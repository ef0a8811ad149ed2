"""Who takes an order for a film: another account only while none has."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.reel import COMPLETED, FAILED, QUEUED
from groxy.jobs.worker import LeaseLostError
from groxy.wire.http import UnsentError
from tests.gateway.film_set import DONE, OWNER, PENDING, FilmSeat, stoppable, told
from tests.gateway.stage import DOWN, Reply


def refused_connection() -> GroxyError:
    return UnsentError(ErrorKind.UPSTREAM_DOWN, "The upstream could not be reached.")


async def test_another_account_is_asked_while_none_has_taken_the_job(stand):
    busy, away = (
        FilmSeat(orders=[told({"error": "no"}, 429)]),
        FilmSeat(orders=[refused_connection()]),
    )
    third = FilmSeat(DONE)
    scene = await stand(busy, away, third)
    job = await scene.order()
    assert (await scene.work(job)).status == COMPLETED
    assert len(third.begun) == 1
    attempts = await scene.attempts()
    assert attempts[-1].outcome == "ok"
    assert {one.outcome for one in attempts[:-1]} <= {
        "upstream_rate_limited",
        "upstream_unavailable",
    }


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        told({}, 502),
        told({}, 504),
        told({"unreadable": True}),
        Reply(script=[b"{", DOWN], content_type="application/json"),
    ],
    ids=["broken-off", "502", "504", "no-id", "cut-off"],
)
async def test_nobody_else_is_asked_when_an_upstream_may_have_taken_the_job(stand, answer):
    seats = FilmSeat(orders=[answer]), FilmSeat(orders=[answer])
    scene = await stand(*seats)
    job = await scene.order()
    ended = await scene.work(job)
    assert ended.status == FAILED
    assert (await scene.shown(job)).error_code == "upstream_unknown_outcome"
    assert sum(len(seat.begun) for seat in seats) == 1
    assert (await scene.entry()).cost_ticks == 0


async def test_an_order_that_is_refused_tells_why(stand):
    answer = told({"error": "The prompt is too long.", "code": "invalid-argument"}, 400)
    scene = await stand(FilmSeat(orders=[answer]), FilmSeat(orders=[answer]))
    job = await scene.order()
    assert (await scene.work(job)).status == FAILED
    assert "too long" in (await scene.shown(job)).error


async def test_accounts_that_stay_busy_end_the_job_with_their_reason(stand):
    scene = await stand(FilmSeat(orders=[told({"error": "slow down"}, 429)]))
    object.__setattr__(scene.means.limits.deadlines, "total_s", 3.0)
    job = await scene.order()
    assert (await scene.work(job)).status == FAILED
    assert (await scene.shown(job)).error_code == "upstream_rate_limited"
    assert len(scene.seats[0].begun) <= 3


async def test_who_lost_a_job_while_ordering_takes_the_order_back(stand, monkeypatch):
    stoppable(monkeypatch)
    seat = FilmSeat(PENDING, orders=[Reply(script=[0.2, b'{"request_id":"film-1"}'])])
    scene = await stand(seat)
    job = await scene.order()
    held = await scene.take(job)
    work = asyncio.get_running_loop().create_task(scene.filming.work(held))
    await seat.sent.wait()
    await scene.take(job)
    with pytest.raises(LeaseLostError):
        await work
    assert seat.asked[-1].method == "DELETE"


async def test_a_job_waits_for_an_account_to_become_free(stand):
    seat = FilmSeat(DONE)
    scene = await stand(seat)
    (account,) = scene.stage.directory.accounts
    job = await scene.order()
    scene.stage.directory.rest(
        account, scene.stage.directory.now() + 0.4, ErrorKind.UPSTREAM_LIMITED
    )
    assert (await scene.films.find(job.id, OWNER)).status == QUEUED
    assert (await scene.work(job)).status == COMPLETED
