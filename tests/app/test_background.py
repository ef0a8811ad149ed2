"""What runs beside the requests."""

import asyncio

from groxy.app.background import Sharing, repeated
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import Terms
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
