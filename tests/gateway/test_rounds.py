"""Candidates are asked in their order: who is passed over, who is not asked, and what is told."""

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.rounds import (
    NoRoomError,
    Rounds,
    begin_attempt,
    most_telling,
    note_failure,
    read_refusal,
)
from groxy.gateway.vigil import Vigil
from groxy.ledger.trail import Trail
from groxy.routing.router import Wanted
from tests.gateway.stage import Reply, Seat, Stage, refusing

WANTED = Wanted(model="grok-4.3", carriers=("chat",))


def three_seats():
    return Stage(Seat(Reply()), Seat(Reply()), Seat(Reply()))


def trail_of():
    return Trail(request_id="req_1", key_id="key-1", dialect="chat")


async def served(stage, ask, **more):
    async with Vigil(stage.client, stage.gateway.limits.deadlines, None) as vigil:
        return await Rounds(stage.gateway, trail_of(), vigil).serve(WANTED, ask, **more)


def failing(kind, **more):
    return GroxyError(kind, kind.value, **more)


def scripted(*answers):
    """Answer each candidate in turn; note who was asked."""
    left, asked = list(answers), []

    async def ask(candidate, others):
        asked.append(candidate.account.id)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask, asked


async def test_what_the_first_gives_is_returned_and_nobody_else_is_asked():
    ask, asked = scripted("answer")
    assert await served(three_seats(), ask) == "answer"
    assert asked == ["seat-0"]


async def test_who_has_no_room_is_passed_over():
    ask, asked = scripted(NoRoomError(), "answer")
    await served(three_seats(), ask)
    assert asked == ["seat-0", "seat-1"]


async def test_who_was_asked_beside_another_is_not_asked_again():
    asked = []

    async def ask(candidate, others):
        asked.append(candidate.account.id)
        if len(asked) > 1:
            return "answer"
        asked.append(others.pop(0).account.id)
        raise failing(ErrorKind.UPSTREAM_DOWN)

    await served(three_seats(), ask)
    assert asked == ["seat-0", "seat-1", "seat-2"]


async def test_once_it_is_final_a_failure_is_told_and_nobody_else_is_asked():
    ask, asked = scripted(failing(ErrorKind.UPSTREAM_DOWN))
    with pytest.raises(GroxyError) as caught:
        await served(three_seats(), ask, is_final=lambda: True)
    assert (caught.value.kind, asked) == (ErrorKind.UPSTREAM_DOWN, ["seat-0"])


async def test_when_nobody_has_room_the_caller_is_to_wait():
    ask, _ = scripted(NoRoomError(), NoRoomError(), NoRoomError())
    with pytest.raises(GroxyError) as caught:
        await served(three_seats(), ask)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.RATE_LIMITED, 1)


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (
            [failing(ErrorKind.UNSUPPORTED), failing(ErrorKind.UPSTREAM_LIMITED, retry_after_s=1)],
            0,
        ),
        (
            [
                failing(ErrorKind.UPSTREAM_LIMITED, retry_after_s=9),
                failing(ErrorKind.UPSTREAM_LIMITED, retry_after_s=3),
                failing(ErrorKind.UPSTREAM_DOWN),
            ],
            1,
        ),
        ([failing(ErrorKind.BAD_REPLY), failing(ErrorKind.UPSTREAM_DOWN)], 1),
    ],
    ids=["what the caller can mend", "the shortest wait", "the last"],
)
def test_of_failures_that_is_told_which_helps_most(failures, told):
    assert most_telling(failures) is failures[told]


def candidate_of(stage):
    return stage.gateway.router.plan(WANTED).candidates[0]


def test_an_account_that_takes_no_more_is_not_in_the_trail(monkeypatch):
    stage, trail = three_seats(), trail_of()
    candidate = candidate_of(stage)
    monkeypatch.setattr(stage.directory, "begin", lambda *given: False)
    with pytest.raises(NoRoomError):
        begin_attempt(stage.gateway, trail, candidate, 0)
    assert trail.attempts == []


def test_an_upstream_that_names_no_time_is_told_with_the_rest_it_is_given():
    stage = three_seats()
    error = failing(ErrorKind.UPSTREAM_LIMITED)
    note_failure(stage.gateway, trail_of(), candidate_of(stage), error)
    assert error.retry_after_s is not None
    assert error.retry_after_s > 0


async def test_a_refusal_means_what_its_status_says():
    account = candidate_of(three_seats()).account
    error = await read_refusal(account, refusing(429, b"{}", retry_after="9"))
    assert (error.kind, error.retry_after_s) == (ErrorKind.UPSTREAM_LIMITED, 9)


async def test_of_a_refusal_only_the_beginning_is_read():
    account = candidate_of(three_seats()).account
    endless = Reply(status=500, script=[b"x" * 70_000, 30.0])
    assert (await read_refusal(account, endless)).kind is ErrorKind.UPSTREAM_DOWN
