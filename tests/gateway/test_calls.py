"""A key that ends takes its calls with it; what they had made is charged."""

import asyncio
import json
from typing import cast

import pytest

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
    calls, one, other = OpenCalls(), Watched(), Watched()
    calls.enter("key_1", one.vigil)
    calls.enter("key_2", other.vigil)

    ended = calls.end(lambda key_id: key_id == "key_2")

    assert (ended, one.ended, other.ended) == (1, ["key_ended"], [])


def test_calls_that_are_over_are_forgotten():
    calls, one = OpenCalls(), Watched()
    calls.enter("key_1", one.vigil)
    calls.leave("key_1", one.vigil)

    assert calls.end(lambda key_id: False) == 0
    assert one.ended == []


async def asked_and_ended(stage, *, stream):
    loop = asyncio.get_running_loop()
    loop.call_later(0.1, stage.gateway.open_calls.end, lambda key_id: False)
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
