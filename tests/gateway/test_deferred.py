"""A deferred reply is worked out once, and fetched once."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT
from groxy.gateway import Call
from groxy.gateway.deferred import DeferredReplies
from groxy.gateway.recording import Recording
from groxy.policy.keys import Caller
from groxy.store.kept import KeptRow, KeptStore
from tests.gateway.stage import Seat, Stage, good, refusing


class Desk:
    """Deferred replies whose work runs when the test lets it."""

    def __init__(self, seat: Seat) -> None:
        self.stage = Stage(seat)
        self.work: list[Coroutine[Any, Any, None]] = []
        self.now_ms = 1_000_000
        self.deferred = self.opened()

    def opened(self) -> DeferredReplies:
        """Return the deferred replies of one process more."""
        return DeferredReplies(
            gateway=self.stage.gateway,
            kept=cast("KeptStore", self.stage.shelf),
            spawn=self.work.append,
            clock_ms=lambda: self.now_ms,
        )

    async def begin(self, recording: Recording | None = None) -> str:
        body = {"model": "grok-4.3", "messages": [{"role": "user", "content": "Hi"}]}
        call = Call(
            request_id="req_19a1b2c3d4e0f0f0f0f0f0f0f0f",
            dialect=DIALECT,
            caller=Caller(key_id="key-1", name="test"),
            body=json.dumps(body).encode(),
            recording=recording,
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
        await desk.opened().fetch(deferred_id, "key-1")
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


async def test_a_reply_under_way_here_is_pending_though_nobody_could_say_so(desk) -> None:
    deferred_id = await desk.begin()
    desk.now_ms += 61_000
    assert await desk.deferred.fetch(deferred_id, "key-1") is None


# ------------------------------------------------------------------ while the database is away


class Away:
    """A database that is away while replies are entered: the books have them in a file."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shelf = desk.stage.shelf
        self.rows: list[KeptRow] = []
        desk.stage.books.is_away = True
        monkeypatch.setattr(desk.stage.books, "shelf", self)
        monkeypatch.setattr(self.shelf, "replace", self._fail)

    async def _fail(self, *_: object) -> bool:
        raise GroxyError(ErrorKind.STORE_DOWN, "The database is away.")

    def add(self, row: KeptRow) -> None:
        """Keep what the books have for later."""
        self.rows.append(row)

    def come_back(self) -> None:
        """Enter it."""
        for row in self.rows:
            self.shelf.add(row)


@pytest.fixture
async def spooled(desk, monkeypatch) -> Any:
    """A reply that ended while the database was away: its desk, that database, its id."""
    away = Away(desk, monkeypatch)
    deferred_id = await desk.begin()
    await desk.finish()
    return desk, away, deferred_id


async def test_a_reply_that_ends_while_the_database_is_away_is_there_with_its_entry(
    spooled,
) -> None:
    desk, away, deferred_id = spooled
    away.come_back()
    fetched = await desk.deferred.fetch(deferred_id, "key-1")
    assert json.loads(fetched.body)["choices"][0]["message"]["content"] == "Later."


async def test_a_reply_that_is_not_in_the_database_yet_is_pending(spooled) -> None:
    desk, _, deferred_id = spooled
    desk.now_ms += 61_000
    assert await desk.deferred.fetch(deferred_id, "key-1") is None


async def test_a_reply_that_is_not_in_the_database_yet_is_pending_elsewhere_too(spooled) -> None:
    desk, _, deferred_id = spooled
    desk.now_ms += 61_000
    await desk.deferred.renew()
    assert await desk.opened().fetch(deferred_id, "key-1") is None


@pytest.mark.parametrize("is_fetched", [False, True])
async def test_nothing_is_said_any_more_of_a_reply_that_is_there(
    spooled, monkeypatch, is_fetched
) -> None:
    desk, away, deferred_id = spooled
    away.come_back()
    renewed: list[Sequence[str]] = []

    async def renew(ids: Sequence[str], lease_ms: int) -> int:
        renewed.append(ids)
        return lease_ms

    if is_fetched:
        await desk.deferred.fetch(deferred_id, "key-1")
    monkeypatch.setattr(desk.stage.shelf, "renew", renew)
    await desk.deferred.renew()
    await desk.deferred.renew()
    assert len(renewed) <= 1


async def test_a_reply_that_no_books_take_is_lost_and_not_paid_for(desk, monkeypatch) -> None:
    Away(desk, monkeypatch)
    desk.stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "The spool is full.")
    deferred_id = await desk.begin()
    await desk.finish()
    await desk.deferred.renew()
    desk.now_ms += 61_000
    with pytest.raises(GroxyError) as caught:
        await desk.deferred.fetch(deferred_id, "key-1")
    assert "Ask again" in caught.value.message
    assert desk.stage.books.requests == []


async def test_why_no_books_took_a_reply_is_fetched_in_its_place(desk) -> None:
    desk.stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "A value is not possible.")
    deferred_id = await desk.begin()
    await desk.finish()
    fetched = await desk.deferred.fetch(deferred_id, "key-1")
    assert fetched.status == 503
    assert b"not possible" in fetched.body


async def test_the_receipts_recording_records_nothing_of_the_reply(desk) -> None:
    receipt = Recording("name", owner="key-1", request_id="req_1", fingerprint=b"1")
    await desk.begin(receipt)
    await desk.finish()
    assert (receipt.enter, receipt.body) == (None, b"")
