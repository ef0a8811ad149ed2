"""One request runs for each name, and what it came to is stored with its entry or not at all."""

import asyncio
import json
import time
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.chat import DIALECT
from groxy.gateway import Call
from groxy.gateway.recording import Recording
from groxy.gateway.replays import KIND, Replays, name_of
from groxy.policy.keys import Caller
from groxy.state.memory import MemoryState
from groxy.store.kept import KeptRow, KeptStore
from groxy.store.secrets import InstallationSecret
from tests.gateway.stage import Seat, Stage, good, streamed
from tests.gateway.test_recording import read_all

DOWN = GroxyError(ErrorKind.STORE_DOWN, "It is away.")
OWNER = "key-1"
HEADERS = [(b"content-type", b"application/json"), (b"x-groxy-attempts", b"2")]


class Process:
    """One process of a gateway: its replays, and what runs in it."""

    def __init__(self, kept, state, **more) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.replays = Replays(
            kept=kept,
            state=state,
            spawn=self._spawn,
            hours=lambda: 24,
            wait_s=lambda: 2.0,
            look_every_s=0.01,
            **more,
        )
        self.runs = 0

    def _spawn(self, work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, recording: Recording) -> None:
        """Answer at once."""
        self.runs += 1
        await recording.start(200, HEADERS)
        await recording.send(b"reply %d" % self.runs, is_last=True)

    async def ask(self, run: Any = None, *, key="k", fingerprint=b"f", **more) -> Any:
        """Send a request; return its recording and its body."""
        recording = self.open(run, key=key, fingerprint=fingerprint, **more)
        follower = recording.follow()
        await follower.decided()
        await follower.head()
        return recording, await read_all(follower)

    def open(self, run=None, *, key="k", fingerprint=b"f", is_in_books=True, max_bytes=1_000):
        mine = Recording(
            name_of(OWNER, "/v1/x", key),
            owner=OWNER,
            request_id=f"req_{self.runs}",
            fingerprint=fingerprint,
            max_bytes=max_bytes,
        )
        return self.replays.open(mine, run or self.run, is_in_books=is_in_books)

    async def settled(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)


class Absent(MemoryState):
    """A state that is away."""

    async def take_lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        raise DOWN


@pytest.fixture
def kept(database):
    return KeptStore(database, InstallationSecret(b"s" * 32))


@pytest.fixture
def state():
    return MemoryState()


@pytest.fixture
async def process(kept, state):
    process = Process(kept, state)
    yield process
    await process.settled()
    assert process.replays.count == 0


async def stored(kept, key="k"):
    return await kept.get(name_of(OWNER, "/v1/x", key), OWNER, KIND)


def failing(kind, status):
    """Return what sends an error, as endpoints do whose books know of it."""

    async def run(recording):
        async def enter(rows):
            return None

        recording.postpone(enter, GroxyError(kind, "So it ended."))
        await recording.start(status, HEADERS)
        await recording.send(b"error", is_last=True)

    return run


async def test_what_was_asked_before_is_replayed_as_it_was(process):
    first, body = await process.ask()
    await process.settled()
    again, same = await process.ask()
    assert (body, same) == (b"reply 1", b"reply 1")
    assert (again.status, again.headers) == (200, HEADERS)
    assert again.is_replay
    assert not first.is_replay
    assert again.request_id == first.request_id == "req_0"
    assert process.runs == 1


async def test_a_twin_follows_what_is_under_way(process):
    go_on = asyncio.Event()

    async def run(recording):
        await recording.start(200, [])
        await recording.send(b"one ", is_last=False)
        await go_on.wait()
        await process.run(recording)

    first = asyncio.create_task(process.ask(run))
    await asyncio.sleep(0.05)
    twins = [asyncio.create_task(process.ask()) for _ in range(50)]
    await asyncio.sleep(0.05)
    go_on.set()
    bodies = {body for _, body in await asyncio.gather(first, *twins)}
    assert bodies == {b"one reply 1"}
    assert process.runs == 1


async def test_another_key_is_another_request(process):
    await process.ask(key="a")
    await process.ask(key="b")
    assert process.runs == 2


def test_a_name_is_of_one_owner_path_and_key():
    names = [
        name_of("key-1", "/v1/x", "k"),
        name_of("key-2", "/v1/x", "k"),
        name_of("key-1", "/v1/y", "k"),
        name_of("key-1", "/v1/x", "l"),
    ]
    assert len(set(names)) == 4
    assert all(len(name) <= 64 for name in names)


async def test_the_fingerprint_of_what_is_stored_is_told(process):
    await process.ask(fingerprint=b"first")
    await process.settled()
    again, _ = await process.ask(fingerprint=b"second")
    assert again.fingerprint == b"first"


@pytest.mark.parametrize(
    ("kind", "status", "is_stored"),
    [
        (ErrorKind.BAD_REQUEST, 400, True),
        (ErrorKind.CONTEXT_TOO_LONG, 400, True),
        (ErrorKind.REFUSED, 403, True),
        (ErrorKind.TOO_LARGE, 413, True),
        (ErrorKind.FORBIDDEN, 403, False),
        (ErrorKind.UNKNOWN_MODEL, 400, False),
        (ErrorKind.BAD_KEY, 401, False),
        (ErrorKind.NO_CREDITS, 402, False),
        (ErrorKind.CONFLICT, 409, False),
        (ErrorKind.RATE_LIMITED, 429, False),
        (ErrorKind.UPSTREAM_DOWN, 502, False),
        (ErrorKind.STREAM_BROKEN, 200, False),
        (ErrorKind.INTERNAL, 500, False),
    ],
)
async def test_errors_are_stored_if_the_body_is_their_reason(
    process, kept, kind, status, is_stored
):
    # An entry of its own would write the row; here the books have nothing.
    async def run(recording):
        recording.reason = kind
        await recording.start(status, HEADERS)
        await recording.send(b"error", is_last=True)

    _, body = await process.ask(run)
    assert body == b"error"
    await process.settled()
    assert (await stored(kept) is not None) is is_stored
    _, body = await process.ask()
    assert body == (b"error" if is_stored else b"reply 1")


async def test_the_row_goes_with_the_entry(process, kept):
    given = []

    async def run(recording):
        async def enter(rows):
            given.extend(rows)
            return

        recording.postpone(enter, None)
        await process.run(recording)

    await process.ask(run)
    await process.settled()
    (row,) = given
    assert (row.id, row.owner, row.kind) == (name_of(OWNER, "/v1/x", "k"), OWNER, KIND)
    assert await stored(kept) is None, "only who enters the request writes it"


async def test_an_entry_of_what_is_not_stored_has_no_row(process):
    given = []

    async def run(recording):
        async def enter(rows):
            given.append(list(rows))
            return

        recording.postpone(enter, GroxyError(ErrorKind.UPSTREAM_DOWN, "It is."))
        await process.run(recording)

    await process.ask(run)
    assert given == [[]]


async def test_books_that_are_away_withhold_the_reply_and_let_go_of_the_key(process):
    async def run(recording):
        async def enter(rows):
            return DOWN

        recording.postpone(enter, None)
        await process.run(recording)

    with pytest.raises(GroxyError) as caught:
        await process.ask(run)
    assert caught.value.kind is ErrorKind.STORE_DOWN
    await process.settled()
    _, body = await process.ask()
    assert body == b"reply 2"


async def test_what_is_too_large_is_refused_and_not_run_again(process):
    recording, body = await process.ask(max_bytes=3)
    assert body == b"reply 1"
    assert recording.is_too_large
    await process.settled()
    with pytest.raises(GroxyError) as caught:
        await process.ask()
    assert caught.value.code == "idempotency_result_too_large"
    assert process.runs == 1


async def test_what_has_expired_runs_again(kept, state):
    process = Process(kept, state, clock_ms=lambda: time.time_ns() // 1_000_000 - 24 * 3_600_000)
    for expected in (b"reply 1", b"reply 2"):
        _, body = await process.ask()
        assert body == expected
        await process.settled()


async def test_a_process_waits_for_another_ones_twin(process, kept, state):
    other = Process(kept, state)
    go_on = asyncio.Event()

    async def run(recording):
        await go_on.wait()
        await other.run(recording)

    first = asyncio.create_task(other.ask(run))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(process.ask())
    await asyncio.sleep(0.1)
    assert not second.done()
    go_on.set()
    assert (await first)[1] == (await second)[1] == b"reply 1"
    assert (other.runs, process.runs) == (1, 0)
    await other.settled()


async def test_a_process_takes_over_when_the_other_one_failed(process, kept, state):
    other = Process(kept, state)
    go_on = asyncio.Event()

    async def run(recording):
        await go_on.wait()
        await failing(ErrorKind.UPSTREAM_DOWN, 502)(recording)

    first = asyncio.create_task(other.ask(run))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(process.ask())
    await asyncio.sleep(0.05)
    go_on.set()
    assert (await first)[1] == b"error"
    assert (await second)[1] == b"reply 1"
    await other.settled()


async def test_a_process_takes_over_from_one_that_died(process, state):
    await state.take_lease(name_of(OWNER, "/v1/x", "k"), "of the dead", ttl_s=0.1)
    assert (await process.ask())[1] == b"reply 1"


async def test_nobody_waits_for_ever(kept, state):
    process = Process(kept, state)
    process.replays.wait_s = lambda: 0.05
    await state.take_lease(name_of(OWNER, "/v1/x", "k"), "another", ttl_s=9)
    with pytest.raises(GroxyError) as caught:
        await process.ask()
    assert caught.value.code == "idempotency_in_progress"
    assert process.runs == 0


async def test_a_lease_is_renewed_while_the_request_runs(kept, state):
    process = Process(kept, state, lease_s=1.0, renew_every_s=0.1)
    other = Process(kept, state)

    async def run(recording):
        await asyncio.sleep(1.5)
        await process.run(recording)

    first = asyncio.create_task(process.ask(run))
    await asyncio.sleep(0.05)
    assert (await other.ask())[1] == (await first)[1] == b"reply 1"
    assert other.runs == 0
    await process.settled()


@pytest.mark.parametrize("is_in_books", [True, False])
async def test_who_was_overtaken_says_so_and_stores_nothing(process, kept, state, is_in_books):
    """As when the state loses its memory: another process took the lease meanwhile."""
    name, given = name_of(OWNER, "/v1/x", "k"), []

    async def run(recording):
        async def enter(rows):
            given.append((recording.is_overtaken, list(rows)))

        recording.postpone(enter, None)
        await state.drop_lease(name, process.replays._leases[name])
        await state.take_lease(name, "another", ttl_s=9)
        await process.run(recording)

    assert (await process.ask(run, is_in_books=is_in_books))[1] == b"reply 1"
    await process.settled()
    assert given == [(True, [])]
    found = await stored(kept)
    assert found is None or found.state == "pending"


async def test_nothing_runs_while_the_state_is_away(kept):
    process = Process(kept, Absent())
    with pytest.raises(GroxyError) as caught:
        await process.ask()
    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert process.runs == 0


async def test_a_spooled_reply_stays_with_its_process_until_the_database_has_it(kept, state):
    process = Process(kept, state, renew_every_s=0.02)
    rows = []

    async def run(recording):
        async def enter(given):
            rows.extend(given)
            recording.is_spooled = True
            return

        recording.postpone(enter, None)
        await process.run(recording)

    assert (await process.ask(run))[1] == b"reply 1"
    await process.settled()
    await asyncio.sleep(0.1)
    assert (await process.ask())[1] == b"reply 1", "it is known here still"
    assert process.replays.count == 1
    await kept.keep(rows)
    while process.replays.count:
        await asyncio.sleep(0.01)
    again, body = await process.ask()
    assert (again.is_replay, body, process.runs) == (True, b"reply 1", 1)
    await process.settled()


async def test_what_is_in_no_books_is_announced_before_it_begins(process, kept):
    async def run(recording):
        announced = await stored(kept)
        assert announced.state == "pending"
        await process.run(recording)

    assert (await process.ask(run, is_in_books=False))[1] == b"reply 1"
    await process.settled()
    assert (await stored(kept)).state == "done"
    assert (await process.ask(is_in_books=False))[1] == b"reply 1"


async def test_what_is_in_no_books_is_not_begun_again_when_its_end_is_unknown(process, kept):
    dead = Recording(
        name_of(OWNER, "/v1/x", "k"), owner=OWNER, request_id="req_9", fingerprint=b"f"
    )
    await kept.keep([process.replays._row(dead, "pending")])
    with pytest.raises(GroxyError) as caught:
        await process.ask(is_in_books=False)
    assert caught.value.code == "idempotency_outcome_unknown"
    assert process.runs == 0


async def test_what_is_in_no_books_and_failed_lets_go_of_its_key(process, kept):
    _, body = await process.ask(failing(ErrorKind.UPSTREAM_DOWN, 502), is_in_books=False)
    assert body == b"error"
    await process.settled()
    assert await stored(kept) is None
    assert (await process.ask(is_in_books=False))[1] == b"reply 1"


async def test_a_run_that_sends_nothing_fails_and_lets_go(process, kept):
    async def run(recording):
        raise DOWN

    with pytest.raises(GroxyError) as caught:
        await process.ask(run)
    assert caught.value.kind is ErrorKind.STORE_DOWN
    await process.settled()
    assert await stored(kept) is None


async def test_a_defect_leaves_nobody_waiting(process):
    async def run(recording):
        raise RuntimeError("a defect")

    with pytest.raises(GroxyError) as caught:
        await process.ask(run)
    assert caught.value.kind is ErrorKind.INTERNAL


async def test_a_gateway_that_stops_tells_followers_and_stores_nothing(process, kept):
    async def run(recording):
        await asyncio.Event().wait()

    asked = asyncio.create_task(process.ask(run))
    await asyncio.sleep(0.05)
    for task in process.tasks:
        task.cancel()
    with pytest.raises(GroxyError) as caught:
        await asked
    assert caught.value.kind is ErrorKind.INTERNAL
    await process.settled()
    assert await stored(kept) is None


async def test_what_is_stored_opens_for_its_owner_only(process, kept):
    await process.ask()
    await process.settled()
    assert await kept.get(name_of(OWNER, "/v1/x", "k"), "key-2", KIND) is None


# ------------------------------------------------------------------------------- with the pipeline


def recorded(stage, **fields):
    """Return a call of a stage's caller with a recording, and the recording."""
    recording = Recording("replay_1", owner=OWNER, request_id="req_1", fingerprint=b"f")
    body = {"model": "grok-4.3", "messages": [{"role": "user", "content": "one two"}]} | fields
    call = Call(
        request_id="req_1",
        dialect=DIALECT,
        caller=Caller(key_id=OWNER, name="test"),
        body=json.dumps(body).encode(),
        recording=recording,
    )
    return call, recording


def row_of(recording):
    """Return some row that is to be stored."""
    return KeptRow(recording.name, KIND, OWNER, None, "", "done", 1, 2, None, recording.body)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_entered_when_its_reply_is_known_and_with_it(stream):
    stage = Stage(Seat(streamed("Hello") if stream else good()))
    call, recording = recorded(stage, stream=stream)
    await stage.gateway.answer(call, recording)
    assert recording.is_complete
    assert stage.books.requests == []
    row = row_of(recording)
    assert await recording.enter([row]) is None
    assert stage.entry.outcome == "ok"
    assert stage.shelf.kept["replay_1"].content == recording.body
    assert not recording.is_spooled


@pytest.fixture
async def stage_down():
    stage = Stage(Seat(streamed("Hello")))
    call, recording = recorded(stage, stream=True)
    await stage.gateway.answer(call, recording)
    stage.books.failure = GroxyError(ErrorKind.STORE_DOWN, "Away.")
    return stage, recording


async def test_books_that_are_away_are_told_of_in_the_words_of_the_stream(stage_down):
    stage, recording = stage_down
    error = await recording.enter([row_of(recording)])
    assert error is stage.books.failure
    recording.fail(error)
    body = await read_all(recording.follow())
    assert b'"store_unavailable"' in body
    assert b"[DONE]" not in body
    assert stage.shelf.kept == {}


async def test_a_reply_is_known_to_be_spooled_if_there_is_one_to_store():
    for rows, is_spooled in ((1, True), (0, False)):
        stage = Stage(Seat(good()))
        stage.books.is_away = True
        call, recording = recorded(stage)
        await stage.gateway.answer(call, recording)
        await recording.enter([row_of(recording)] * rows)
        assert recording.is_spooled is is_spooled


async def test_a_request_that_was_overtaken_is_entered_and_free():
    stage = Stage(Seat(good()))
    call, recording = recorded(stage)
    await stage.gateway.answer(call, recording)
    recording.is_overtaken = True
    await recording.enter([])
    assert (stage.entry.outcome, stage.entry.cost_ticks, stage.entry.charge_ticks) == ("ok", 0, 0)
    assert stage.books.attempts[0].cost_ticks == 777


async def test_the_error_of_a_request_is_known_to_its_keeper():
    stage = Stage(Seat(good()))
    call, recording = recorded(stage, n=-1)
    await stage.gateway.answer(call, recording)
    assert (recording.status, recording.reason) == (400, ErrorKind.BAD_REQUEST)
    await recording.enter([])
    assert stage.entry.outcome == "invalid_value"
