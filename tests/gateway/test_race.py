"""Two attempts at once, through the whole pipeline."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind
from groxy.gateway.hedging import Hedger, HedgeRules
from groxy.routing.account import Status
from tests.gateway.stage import DOWN, Reply, Seat, Stage, chunk, good, refusing, whole

pytestmark = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
END = (chunk({}, finish_reason="stop"), b"data: [DONE]\n\n")


def slow(stream, seconds, text="slow"):
    """Return a reply that begins after some time."""
    if stream:
        script = [seconds, chunk({"role": "assistant", "content": text}), *END]
        return Reply(script=script)
    return Reply(script=[seconds, whole(text)], content_type="application/json")


def quick(stream, text="quick"):
    return slow(True, 0.0, text) if stream else good(text)


def staged(*seats, percent=100.0, **deadlines):
    """Return a stage on which requests are hedged after a hundredth of a second."""
    stage = Stage(*seats, **deadlines)
    stage.gateway.hedger = Hedger(HedgeRules(percentile=50, max_percent=percent))
    for _ in range(30):
        stage.gateway.hedger.note_begun("grok-4.3", 0.01)
    return stage


async def said(stage, stream):
    client = await stage.ask(stream=stream)
    return client.body.decode()


async def test_a_second_account_is_asked_when_the_first_takes_too_long(stream):
    stage = staged(Seat(slow(stream, 5.0)), Seat(quick(stream)))

    text = await said(stage, stream)

    assert "quick" in text
    assert "slow" not in text
    assert [len(seat.asked) for seat in stage.seats] == [1, 1]


async def test_the_first_account_serves_alone_when_it_begins_in_time(stream):
    stage = staged(Seat(quick(stream)), Seat(quick(stream, "second")))

    assert "quick" in await said(stage, stream)
    assert [len(seat.asked) for seat in stage.seats] == [1, 0]


async def test_the_first_account_serves_when_it_is_the_first_to_begin_after_all(stream):
    stage = staged(Seat(slow(stream, 0.05, "first")), Seat(slow(stream, 5.0)))

    assert "first" in await said(stage, stream)
    assert [len(seat.asked) for seat in stage.seats] == [1, 1]


async def test_the_other_attempt_is_ended_at_its_upstream(stream):
    stage = staged(Seat(slow(stream, 5.0)), Seat(quick(stream)))

    await said(stage, stream)

    assert stage.seats[0].given[0].is_closed
    assert all(account.in_flight == 0 for account in stage.directory.accounts)


async def test_the_caller_pays_for_the_one_that_served_and_both_are_in_the_books(stream):
    stage = staged(Seat(slow(stream, 5.0)), Seat(quick(stream)))

    await said(stage, stream)

    entry = stage.entry
    assert (entry.outcome, entry.account_id, entry.attempts) == ("ok", "seat-1", 2)
    outcomes = {line.account_id: line.outcome for line in stage.books.attempts}
    assert outcomes == {"seat-0": ErrorKind.CANCELLED.value, "seat-1": "ok"}
    served = next(line for line in stage.books.attempts if line.account_id == "seat-1")
    assert entry.cost_ticks == served.cost_ticks


async def test_being_outrun_does_not_count_against_an_account(stream):
    stage = staged(Seat(slow(stream, 5.0)), Seat(quick(stream)))

    await said(stage, stream)

    first = stage.directory.accounts[0]
    assert (first.status(stage.directory.now()), first.failures) == (Status.ACTIVE, 0)


async def test_when_the_first_fails_in_the_race_the_second_serves(stream):
    failing = Reply(script=[0.05, b"{}"], status=200, content_type="application/json")
    stage = staged(Seat(failing), Seat(slow(stream, 0.1)))

    assert "slow" in await said(stage, stream)


async def test_when_both_fail_the_caller_is_told(stream):
    late = Reply(script=[0.05, DOWN])
    stage = staged(Seat(late), Seat(Reply(script=[0.05, DOWN])))

    client = await stage.ask(stream=stream)

    assert client.status == 502
    assert stage.entry.outcome == ErrorKind.UPSTREAM_DOWN.value
    assert stage.entry.cost_ticks == 0


async def test_one_that_fails_before_the_time_is_up_is_followed_by_the_next(stream):
    stage = staged(Seat(refusing(503)), Seat(quick(stream)))

    assert "quick" in await said(stage, stream)
    assert [len(seat.asked) for seat in stage.seats] == [1, 1]


async def test_no_more_is_hedged_than_the_operator_allows(stream):
    stage = staged(Seat(slow(stream, 0.05)), Seat(quick(stream)), percent=0.0)
    assert stage.gateway.hedger.take()

    assert "slow" in await said(stage, stream)
    assert len(stage.seats[1].asked) == 0


async def test_the_deadline_ends_both(stream):
    stage = staged(Seat(slow(stream, 9.0)), Seat(slow(stream, 9.0)), first_event_s=0.2, total_s=0.3)

    client = await stage.ask(stream=stream)

    assert client.status == 504
    assert {line.outcome for line in stage.books.attempts} == {ErrorKind.UPSTREAM_TIMEOUT.value}
    assert all(account.in_flight == 0 for account in stage.directory.accounts)


async def test_a_client_that_leaves_ends_both(stream):
    stage = staged(Seat(slow(stream, 9.0)), Seat(slow(stream, 9.0)))
    stage.client.left.set()

    async with asyncio.timeout(3):
        await stage.ask(stream=stream)

    assert stage.entry.outcome == ErrorKind.CANCELLED.value
    assert all(seat.given[0].is_closed for seat in stage.seats)
    assert all(account.in_flight == 0 for account in stage.directory.accounts)
