"""A deferred reply is worked out once, and fetched once."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT
from groxy.gateway import Call
from groxy.gateway.deferred import DeferredReplies
from groxy.policy.keys import Caller
from groxy.store.kept import KeptStore
from tests.gateway.stage import Seat, Stage, good, refusing


class Desk:
    """Deferred replies whose work runs when the test lets it."""

    def __init__(self, seat: Seat) -> None:
        self.stage = Stage(seat)
        self.work: list[Coroutine[Any, Any, None]] = []
        self.now_ms = 1_000_000
        self.deferred = DeferredReplies(
            gateway=self.stage.gateway,
            kept=cast("KeptStore", self.stage.shelf),
            spawn=self.work.append,
            clock_ms=lambda: self.now_ms,
        )

    async def begin(self) -> str:
        body = {"model": "grok-4.3", "messages": [{"role": "user", "content": "Hi"}]}
        call = Call(
            request_id="req_19a1b2c3d4e0f0f0f0f0f0f0f0f",
            dialect=DIALECT,
            caller=Caller(key_id="key-1", name="test"),
            body=json.dumps(body).encode(),
        )
        return await self.deferred.begin(call)

    async def finish(self) -> None:
        for work in self.work:
            await work
        self.work.clear()


@pytest.fixture
def desk() -> Any:
    desk = Desk(Seat(good("Later.")))
    yield desk
    for work in desk.work:
        work.close()


async def test_a_reply_is_pending_until_it_is_there(desk) -> None:
    deferred_id = await desk.begin()
    assert await desk.deferred.fetch(deferred_id, "key-1") is None
    await desk.finish()
    fetched = await desk.deferred.fetch(deferred_id, "key-1")
    assert fetched.status == 200
    assert json.loads(fetched.body)["choices"][0]["message"]["content"] == "Later."


async def test_a_reply_is_fetched_once(desk) -> None:
    deferred_id = await desk.begin()
    await desk.finish()
    await desk.deferred.fetch(deferred_id, "key-1")
    with pytest.raises(GroxyError) as caught:
        await desk.deferred.fetch(deferred_id, "key-1")
    assert caught.value.kind is ErrorKind.NOT_FOUND


async def test_nobody_else_can_fetch_it(desk) -> None:
    deferred_id = await desk.begin()
    await desk.finish()
    with pytest.raises(GroxyError) as caught:
        await desk.deferred.fetch(deferred_id, "key-2")
    assert caught.value.kind is ErrorKind.NOT_FOUND


async def test_it_is_one_request_in_the_books(desk) -> None:
    await desk.begin()
    await desk.finish()
    assert desk.stage.entry.outcome == "ok"
    assert desk.stage.entry.cost_ticks == 777


async def test_a_failure_is_fetched_as_it_would_have_come() -> None:
    desk = Desk(Seat(refusing(400, b'{"error":"no"}')))
    deferred_id = await desk.begin()
    await desk.finish()
    fetched = await desk.deferred.fetch(deferred_id, "key-1")
    assert fetched is not None
    assert fetched.status == 400
    assert b"invalid_value" in fetched.body


async def test_a_reply_whose_process_died_is_an_error_that_says_so(desk) -> None:
    deferred_id = await desk.begin()
    desk.now_ms += 61_000
    with pytest.raises(GroxyError) as caught:
        await desk.deferred.fetch(deferred_id, "key-1")
    assert caught.value.kind is ErrorKind.INTERNAL
    assert "stopped" in caught.value.message


async def test_a_long_reply_stays_pending_while_its_process_lives(desk) -> None:
    deferred_id = await desk.begin()
    desk.now_ms += 50_000
    await desk.deferred.renew()
    desk.now_ms += 50_000
    assert await desk.deferred.fetch(deferred_id, "key-1") is None


async def test_a_gateway_that_stops_leaves_an_answer_that_says_so(desk) -> None:
    deferred_id = await desk.begin()
    task = asyncio.ensure_future(desk.work.pop())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    fetched = await desk.deferred.fetch(deferred_id, "key-1")
    assert fetched is not None
    assert fetched.status in (200, 500)
