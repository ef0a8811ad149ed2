"""Accounts are asked in turn: who is busy, who fails, and who tells what."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MediaCall
from groxy.gateway.turns import Turns, send
from groxy.gateway.vigil import Vigil
from groxy.ledger.trail import Trail
from groxy.routing.router import Wanted
from groxy.upstreams._base import Credentials
from tests.gateway.stage import Reply, Seat, Stage, refusing

WANTED = Wanted(model="grok-imagine-image", carriers=("images",))


async def served(stage, ask, trail=None):
    trail = trail or Trail(request_id="req_1", key_id="key-1", dialect="images")
    async with Vigil(stage.client, stage.gateway.limits.deadlines, None) as vigil:
        return await Turns(stage.gateway, trail, vigil).serve(WANTED, ask)


def answering(*answers):
    """Answer each candidate in turn; note who was asked."""
    left = list(answers)
    asked = []

    async def ask(candidate, attempt):
        asked.append(candidate.account.id)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        attempt.cost_ticks = 7
        return answer

    return ask, asked


def failing(kind, **more):
    return GroxyError(kind, kind.value, **more)


async def test_the_first_that_serves_is_told_with_what_it_gave():
    stage = Stage(Seat(Reply()), Seat(Reply()))
    ask, asked = answering("film")
    candidate, given = await served(stage, ask)
    assert (candidate.account.id, given, asked) == ("seat-0", "film", ["seat-0"])
    assert candidate.account.tally.cost_ticks == 7
    assert candidate.account.tally.uses == 1


async def test_a_failure_of_an_account_is_held_against_it_and_another_is_asked():
    stage = Stage(Seat(Reply()), Seat(Reply()))
    ask, asked = answering(failing(ErrorKind.UPSTREAM_QUOTA), "picture")
    trail = Trail(request_id="req_1", key_id="key-1", dialect="images")
    _, given = await served(stage, ask, trail)
    assert (given, asked) == ("picture", ["seat-0", "seat-1"])
    assert stage.directory.accounts[0].rest_reason is ErrorKind.UPSTREAM_QUOTA
    assert trail.route is not None
    assert trail.route.candidates[0].account == "seat-0"


async def test_a_failure_that_is_the_callers_is_told_at_once():
    stage = Stage(Seat(Reply()), Seat(Reply()))
    ask, asked = answering(failing(ErrorKind.BAD_REQUEST, param="size"))
    with pytest.raises(GroxyError) as caught:
        await served(stage, ask)
    assert (caught.value.param, asked) == ("size", ["seat-0"])
    assert stage.directory.accounts[0].rest_reason is None


async def test_an_error_that_repeats_the_credential_does_not_tell_it():
    stage = Stage(Seat(Reply()))
    secret = "key-of-another-make"
    stage.directory.accounts[0].credentials = Credentials(api_key=secret)
    error = GroxyError(ErrorKind.BAD_REQUEST, f"Not with {secret}.", detail=f"key {secret} said no")
    ask, _ = answering(error)
    with pytest.raises(GroxyError) as caught:
        await served(stage, ask)
    assert (caught.value.message, caught.value.detail) == ("Not with ***.", "key *** said no")


async def test_of_several_failures_that_is_told_which_helps_most():
    stage = Stage(Seat(Reply()), Seat(Reply()), Seat(Reply()))
    ask, asked = answering(
        failing(ErrorKind.UPSTREAM_DOWN),
        failing(ErrorKind.UPSTREAM_LIMITED, retry_after_s=3.0),
        failing(ErrorKind.BAD_REPLY),
    )
    with pytest.raises(GroxyError) as caught:
        await served(stage, ask)
    assert (caught.value.kind, len(asked)) == (ErrorKind.UPSTREAM_LIMITED, 3)


async def test_an_account_that_others_took_meanwhile_is_passed_over(monkeypatch):
    stage = Stage(Seat(Reply()), Seat(Reply()))
    refuses = [True, False]
    begin = stage.directory.begin
    monkeypatch.setattr(
        stage.directory, "begin", lambda *given: False if refuses.pop(0) else begin(*given)
    )
    ask, asked = answering("picture")
    await served(stage, ask)
    assert asked == ["seat-1"]


async def test_when_all_are_taken_the_caller_is_to_wait(monkeypatch):
    stage = Stage(Seat(Reply()))
    monkeypatch.setattr(stage.directory, "begin", lambda *given: False)
    ask, _ = answering()
    with pytest.raises(GroxyError) as caught:
        await served(stage, ask)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.RATE_LIMITED, 1)


async def test_a_deadline_counts_for_each_attempt():
    stage = Stage(Seat(Reply()), Seat(Reply()), first_event_s=0.5)
    asked = []

    async def ask(candidate, attempt):
        asked.append(candidate.account.id)
        if len(asked) == 1:
            await asyncio.sleep(30)
        return "picture"

    _, given = await served(stage, ask)
    assert (given, len(asked)) == ("picture", 2)


CALL = MediaCall(path="/images/generations", body=b"{}")


async def asked_of(*answers, call=CALL, limit=1000):
    seat = Seat(*answers)
    stage = Stage(seat)
    plan = stage.gateway.router.plan(WANTED)
    trail = Trail(request_id="req_1", key_id="key-1", dialect="images")
    attempt = trail.begin_attempt(upstream="xai", account_id="seat-0", model_sent="m")
    return seat, attempt, send(plan.candidates[0], call, attempt, limit=limit)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_good_reply_is_returned(status):
    seat, attempt, sending = await asked_of(Reply(status=status, script=[b"ab", b"c"]))
    assert await sending == b"abc"
    assert attempt.status == status
    assert seat.given[0].is_closed
    (outgoing,) = seat.asked
    assert outgoing.headers["Content-Type"] == "application/json"


async def test_a_request_without_a_body_has_no_content_type():
    seat, _, sending = await asked_of(
        Reply(script=[b"{}"]), call=MediaCall(path="/videos/1", method="GET")
    )
    await sending
    assert seat.asked[0].method == "GET"
    assert "Content-Type" not in seat.asked[0].headers


async def test_an_error_means_what_the_upstream_says():
    seat, attempt, sending = await asked_of(refusing(429, b"{}", retry_after="9"))
    with pytest.raises(GroxyError) as caught:
        await sending
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.UPSTREAM_LIMITED, 9)
    assert attempt.status == 429
    assert seat.given[0].is_closed


async def test_of_an_error_only_the_beginning_is_read():
    endless = Reply(status=500, script=[b"x" * 70_000, 30.0])
    _, _, sending = await asked_of(endless)
    with pytest.raises(GroxyError) as caught:
        await sending
    assert caught.value.kind is ErrorKind.UPSTREAM_DOWN
