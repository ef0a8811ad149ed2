"""What runs beside the requests."""

import asyncio
from types import SimpleNamespace

import pytest

from groxy.app import background
from groxy.app.background import Sharing, repeated
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import Terms
from groxy.observe import logs
from groxy.routing.account import Status
from groxy.routing.affinity import Affinity
from groxy.state.memory import MemoryState
from groxy.store.entries import request_of
from groxy.store.standings import tallies_of
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.inprocess import application, ask
from tests.routing.fleet import account, directory_of, failure
from tests.store.rows import attempt_entry, request_entry

CHAT = {"model": "grok-4.3", "messages": [{"role": "user", "content": "hi"}]}


def processes(count=2):
    """Return processes of one cluster, each with the same account."""
    state = MemoryState()
    terms = Terms(rpm=100)
    return [
        Sharing(state, directory_of(account("one", terms=terms)), Affinity()) for _ in range(count)
    ]


def own(sharing):
    (found,) = sharing._directory.accounts
    return found


async def test_a_rest_that_began_in_one_process_is_in_force_in_the_other():
    first, second = processes()
    first._directory._clock = second._directory._clock = __import__("time").time
    first._directory.note_failure(own(first), failure(ErrorKind.UPSTREAM_LIMITED, 30), "grok-4.3")
    await first.exchange()
    await second.exchange()

    assert own(second).model_rests["grok-4.3"].reason is ErrorKind.UPSTREAM_LIMITED
    assert first._directory.unshared == {}


async def test_a_rest_that_was_cleared_in_one_process_is_over_in_the_other():
    first, second = processes()
    first._directory._clock = second._directory._clock = __import__("time").time
    first._directory.note_failure(own(first), failure(ErrorKind.UPSTREAM_LIMITED, 30), "grok-4.3")
    for sharing in (first, second):
        await sharing.exchange()
    second._directory.clear(own(second))
    for sharing in (second, first):
        await sharing.exchange()

    assert own(first).model_rests == {}


async def test_what_is_in_flight_in_one_process_counts_in_the_other():
    first, second = processes()
    assert first._directory.begin(own(first), "grok-4.3", "official", 100)
    await first.exchange()
    await second.exchange()
    assert own(second).elsewhere.in_flight == 1

    first._directory.end(own(first), 0)
    await first.exchange()
    await second.exchange()
    assert own(second).elsewhere.in_flight == 0
    assert own(second).elsewhere.requests == 1


async def test_homes_of_conversations_are_shared():
    first, second = processes()
    first._affinity.remember("talk", "one")
    await first.exchange()
    await second.exchange()

    assert second._affinity.home_of("talk") == "one"


async def test_one_process_leads_and_another_takes_over_when_it_leaves():
    first, second = processes()

    assert await first.leads()
    assert not await second.leads()
    await first.leave()
    assert await second.leads()


async def test_work_that_fails_is_done_again():
    done = []

    async def work():
        done.append(1)
        raise GroxyError(ErrorKind.STORE_DOWN, "Down.")

    task = asyncio.get_running_loop().create_task(repeated(0.001, "testing", work))
    while len(done) < 3:
        await asyncio.sleep(0.001)
    task.cancel()


async def pauses_of(monkeypatch, every_s, *ends, takes_s=0.0):
    """Return how long is waited before work that ends so, time after time, and before the next."""
    pauses, now, coming = [], [0.0], iter(ends)

    async def sleep(seconds):
        pauses.append(seconds)

    async def work():
        now[0] += takes_s
        end = next(coming, asyncio.CancelledError)
        if end is not None:
            raise end

    monkeypatch.setattr(background, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(asyncio.CancelledError):
        await repeated(every_s, "testing", work)
    return pauses


CRASH = KeyError("a defect")


async def test_work_that_crashes_again_and_again_waits_longer_and_longer(monkeypatch, logged):
    monkeypatch.setattr(background, "_log", logs.get_logger("app"))  # that one knows `logged`
    pauses = await pauses_of(monkeypatch, 4.0, *[CRASH] * 5)

    assert pauses == [4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert [line["work"] for line in logged()] == ["testing"] * 5


async def test_work_that_crashed_is_done_as_often_as_before_when_it_ends_well(monkeypatch):
    assert await pauses_of(monkeypatch, 4.0, CRASH, CRASH, None) == [4.0, 8.0, 16.0, 4.0]


async def test_a_crash_after_a_long_run_is_a_first_one(monkeypatch):
    pauses = await pauses_of(monkeypatch, 4.0, *[CRASH] * 3, takes_s=31.0)

    assert pauses == [4.0, 8.0, 8.0, 8.0]


async def test_work_that_is_done_seldom_is_not_done_more_often_for_its_crashes(monkeypatch):
    assert await pauses_of(monkeypatch, 600.0, CRASH, CRASH) == [600.0, 600.0, 600.0]


async def test_uses_are_counted_in_the_store_when_the_gateway_stops(tmp_path):
    async with application(tmp_path) as app:
        for _ in range(3):
            assert (await ask(app, "POST", "/v1/chat/completions", body=CHAT)).status == 200
        database = app.database
        await app.overseer.flush_tallies()
        tally = (await tallies_of(database, ["sandbox"]))["sandbox"]

        assert (tally.uses, tally.failures) == (3, 0)
        assert tally.tokens > 0


async def test_a_rejected_credential_is_checked_and_expires(tmp_path, monkeypatch):
    plain = {"name": "a", "upstream": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}
    async with application(tmp_path, accounts=[plain]) as app:
        (one,) = app.directory.accounts

        async def rejected(_account):
            return ErrorKind.UPSTREAM_AUTH

        monkeypatch.setattr("groxy.routing.overseer.ask_for_credential", rejected)
        app.directory.note_failure(one, failure(ErrorKind.UPSTREAM_AUTH))
        async with asyncio.timeout(5):
            while one.standing is not Status.EXPIRED:
                await asyncio.sleep(0.01)


async def test_old_requests_are_deleted_by_the_process_that_leads_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("groxy.app.background._PRUNE_EVERY_S", 0.01)
    old = "req_" + "0" * 27
    async with application(tmp_path, retention__request_days=0) as app:
        writer = entry_writer(app.database)
        await writer.submit(Group([request_entry(old, at_ms=1)], [attempt_entry(old)]))
        await writer.close()
        assert await request_of(app.database, old) is not None

    async with application(tmp_path) as app, asyncio.timeout(5):
        while await request_of(app.database, old) is not None:
            await asyncio.sleep(0.01)


async def test_whoever_does_not_lead_deletes_no_requests(tmp_path, monkeypatch):
    monkeypatch.setattr("groxy.app.background._PRUNE_EVERY_S", 0.001)
    asked = asyncio.Event()

    async def leads(_sharing):
        asked.set()
        return False

    monkeypatch.setattr(Sharing, "leads", leads)
    old = "req_" + "0" * 27
    async with application(tmp_path) as app, asyncio.timeout(5):
        writer = entry_writer(app.database)
        await writer.submit(Group([request_entry(old, at_ms=1)], []))
        await writer.close()
        asked.clear()
        await asked.wait()
        await asyncio.sleep(0.05)
        assert await request_of(app.database, old) is not None
