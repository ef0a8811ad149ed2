"""A key that ends takes its calls with it; what they had made is charged."""

import asyncio
import json
from typing import cast

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import TICKS_PER_USD
from groxy.gateway.calls import OpenCalls
from groxy.gateway.vigil import Vigil
from tests.gateway.stage import END, ROLE, Reply, Seat, Stage, chunk, whole
from tests.gateway.test_tab import USER, charges, paying


class Watched:
    """A vigil that only notes why it was ended."""

    def __init__(self):
        self.ended = []

    def end(self, error):
        self.ended.append(error.code)

    @property
    def vigil(self) -> Vigil:
        return cast("Vigil", self)


def test_only_calls_of_keys_that_are_no_more_end():
    in_force = {"key_1", "key_2"}
    calls, one, other = OpenCalls(in_force.__contains__), Watched(), Watched()
    calls.enter("key_1", one.vigil)
    calls.enter("key_2", other.vigil)
    in_force.remove("key_1")

    ended = calls.end()

    assert (ended, one.ended, other.ended) == (1, ["key_ended"], [])


def test_calls_that_are_over_are_forgotten():
    in_force = {"key_1"}
    calls, one = OpenCalls(in_force.__contains__), Watched()
    calls.enter("key_1", one.vigil)
    calls.leave("key_1", one.vigil)
    in_force.clear()

    assert calls.end() == 0
    assert one.ended == []


def test_a_call_of_a_key_that_is_no_more_does_not_begin():
    calls, one = OpenCalls(lambda key_id: False), Watched()

    with pytest.raises(GroxyError) as caught:
        calls.enter("key_1", one.vigil)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_KEY, "key_ended")
    assert calls.end() == 0


async def asked_and_ended(stage, *, stream):
    in_force = {"key_1"}
    calls = stage.gateway.open_calls = OpenCalls(lambda key_id: bool(in_force))

    def end():
        in_force.clear()
        calls.end()

    asyncio.get_running_loop().call_later(0.1, end)
    async with asyncio.timeout(3):
        await stage.ask(stream=stream)


async def test_a_stream_ends_with_an_error_and_what_it_had_said_is_charged():
    words = [chunk({"content": f"word{number} "}) for number in range(20)]
    stage = paying(Stage(Seat(Reply(script=[ROLE, *words, 30.0, *END]))))

    await asked_and_ended(stage, stream=True)

    assert b"word19" in stage.client.body
    last = stage.client.body.rstrip().rpartition(b"data: ")[2]
    assert json.loads(last)["error"]["code"] == "key_ended"
    assert stage.entry.outcome == "invalid_api_key"
    (line,) = charges(stage)
    assert line.ticks > 0
    assert await stage.gate.available(USER) == (TICKS_PER_USD - line.ticks, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_has_not_begun_is_a_401_and_no_other_account_is_asked(stream):
    stage = paying(Stage(Seat(Reply(script=[30.0, whole()])), Seat(Reply(script=[whole()]))))

    await asked_and_ended(stage, stream=stream)

    assert (stage.client.status, stage.client.json["error"]["code"]) == (401, "key_ended")
    assert stage.seats[1].asked == []
    assert (await stage.gate.available(USER))[1] == 0


async def test_the_account_is_not_worse_for_it():
    stage = Stage(Seat(Reply(script=[30.0, whole()])))

    await asked_and_ended(stage, stream=False)

    (account,) = stage.directory.accounts
    assert not account.is_resting(stage.directory.now())
