"""The worker: who works on which job, and what becomes of jobs whose worker dies or breaks."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.jobs.worker import Held, LeaseLostError, Worker, now_ms
from groxy.store.jobs import Job, JobStore
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
OWNER = "key-1"
AWAY = GroxyError(ErrorKind.STORE_DOWN, "The database is away.")


def job(name="job-1", **changes):
    at_ms = time.time_ns() // 1_000_000
    values = {
        "id": name,
        "kind": "thing",
        "owner": OWNER,
        "status": "queued",
        "created_ms": at_ms,
        "updated_ms": at_ms,
        "expires_ms": at_ms + 86_400_000,
        "request_id": f"req-{name}",
    }
    return Job(**{**values, **changes})


class Handler:
    """Ends jobs, after what a test wants to happen first."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.begun = []
        self.given_up = []
        self.ended = asyncio.Event()

    async def work(self, held: Held) -> None:
        self.begun.append(held.job.id)
        if self.steps:
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
            await step(held)
        await held.save(status="done", completed_ms=now_ms())
        self.ended.set()

    async def give_up(self, held: Held, error: Exception) -> None:
        self.given_up.append(repr(error))
        await held.save(status="failed", completed_ms=now_ms())
        self.ended.set()


async def nothing(held):
    pass


async def for_ever(held):
    await asyncio.Event().wait()


def raising(error):
    async def step(held):
        raise error

    return step


@pytest.fixture
def store(database):
    return JobStore(database, SECRET)


def worker(store, handler, **more):
    settings = {"lease_s": 0.6, "look_every_s": 0.02, "stop_s": 0.3} | more
    return Worker(store=store, handlers={"thing": handler}, **settings)


@asynccontextmanager
async def working(*workers):
    tasks = [asyncio.get_running_loop().create_task(one.run()) for one in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(check, within_s=10.0):
    async with asyncio.timeout(within_s):
        while not await check():
            await asyncio.sleep(0.01)


async def status(store, name="job-1"):
    found = await store.find(name, OWNER)
    return found.status if found else "gone"


async def test_a_job_is_worked_on_once_and_ends(store):
    handler = Handler()
    await store.create(job(), b"what was asked")
    async with working(worker(store, handler)), asyncio.timeout(10):
        await handler.ended.wait()
        await asyncio.sleep(0.1)
    assert handler.begun == ["job-1"]
    assert await status(store) == "done"


async def test_a_new_job_is_begun_at_once_when_the_worker_is_told(store):
    handler = Handler()
    one = worker(store, handler, look_every_s=60.0)
    async with working(one), asyncio.timeout(10):
        await asyncio.sleep(0.1)
        await store.create(job(), b"")
        one.wake()
        await handler.ended.wait()


async def test_a_handler_gets_what_was_asked_for(store):
    seen = []

    async def step(held):
        seen.append(await held.request())

    handler = Handler(step)
    await store.create(job(), b"what was asked")
    async with working(worker(store, handler)), asyncio.timeout(10):
        await handler.ended.wait()
    assert seen == [b"what was asked"]


async def test_several_workers_share_jobs_and_none_is_done_twice(store):
    handler = Handler()
    names = [f"job-{number}" for number in range(40)]
    for name in names:
        await store.create(job(name), b"")
    # A machine that stalls for the length of a lease may rightly let another take a job.
    async with working(*(worker(store, handler, lease_s=10.0) for _ in range(3))):

        async def all_done():
            found = await store.of_owner(OWNER, kind="thing", limit=100)
            return all(one.status == "done" for one in found)

        await until(all_done)
    assert sorted(handler.begun) == sorted(names)


async def test_no_more_jobs_are_taken_on_than_there_is_room_for(store):
    handler = Handler(for_ever)
    for number in range(5):
        await store.create(job(f"job-{number}"), b"")
    one = worker(store, handler, at_once=2)
    async with working(one):
        await until(lambda: _is(one.count == 2))
        await asyncio.sleep(0.1)
        assert one.count == 2
        assert len(handler.begun) == 2


async def _is(value):
    return value


async def test_a_lease_is_held_for_as_long_as_the_work_takes(store):
    first, second = Handler(for_ever), Handler()
    await store.create(job(), b"")
    async with working(worker(store, first)):
        await until(lambda: _is(first.begun))
        async with working(worker(store, second)):
            await asyncio.sleep(1.3)  # two leases long
    assert first.begun == ["job-1"]


async def test_jobs_of_a_worker_that_died_go_on_elsewhere(store):
    first, second = Handler(for_ever), Handler()
    await store.create(job(), b"")
    dead = worker(store, first)
    task = asyncio.get_running_loop().create_task(dead.run())
    await until(lambda: _is(first.begun))
    dead.store = None  # nothing is renewed or released any more, as after kill -9
    async with working(worker(store, second)), asyncio.timeout(10):
        await second.ended.wait()
    task.cancel()
    with suppress(asyncio.CancelledError, AttributeError):
        await task


async def test_a_worker_that_stops_lets_go_at_once(store):
    first, second = Handler(for_ever), Handler()
    await store.create(job(), b"")
    async with working(worker(store, first, lease_s=60.0)):
        await until(lambda: _is(first.begun))
    async with working(worker(store, second)), asyncio.timeout(2):
        await second.ended.wait()


async def test_what_cannot_be_undone_may_end_when_the_worker_stops(store):
    async def step(held):
        with held.unbroken():
            await asyncio.sleep(0.15)
            await held.save(status="half")
        await for_ever(held)

    handler = Handler(step)
    await store.create(job(), b"")
    async with working(worker(store, handler, stop_s=10.0)):
        await until(lambda: _is(handler.begun))
    assert await status(store) == "half"


async def test_what_never_ends_is_ended_all_the_same_when_the_worker_stops(store):
    async def step(held):
        with held.unbroken():
            await for_ever(held)

    handler = Handler(step)
    await store.create(job(), b"")
    began = time.monotonic()
    async with working(worker(store, handler)):
        await until(lambda: _is(handler.begun))
    assert time.monotonic() - began < 5.0


async def test_a_job_is_tried_again_after_a_fault_of_the_store(store):
    handler = Handler(raising(AWAY), nothing)
    await store.create(job(), b"")
    async with working(worker(store, handler)), asyncio.timeout(10):
        await handler.ended.wait()
    assert handler.begun == ["job-1", "job-1"]
    assert handler.given_up == []


async def test_a_broken_job_is_given_up_and_stops_no_other(store, monkeypatch, logged):
    monkeypatch.setattr("groxy.jobs.worker._RETRY_MOST_S", 0.01)

    async def step(held):
        if held.job.id == "broken":
            raise RuntimeError("broken")

    handler = Handler(step)
    await store.create(job("broken"), b"")
    await store.create(job("sound"), b"")
    async with working(worker(store, handler)):

        async def both():
            return (await status(store, "broken"), await status(store, "sound")) == (
                "failed",
                "done",
            )

        await until(both, within_s=30.0)
    assert handler.begun.count("broken") == 5
    assert handler.given_up == ["RuntimeError('broken')"]
    assert sum(line["event"] == "job crashed" for line in logged()) == 5


async def test_a_job_can_be_taken_over_and_its_former_worker_does_no_more(store):
    handler = Handler(for_ever)
    await store.create(job(), b"")
    one = worker(store, handler)
    async with working(one):
        await until(lambda: _is(handler.begun))
        held = await one.take_over("job-1", OWNER)
        assert held is not None
        await held.save(status="mine")
        await until(lambda: _is(one.count == 0))
        assert await one.take_over("job-1", "key-2") is None
        await held.save(status="ended", completed_ms=now_ms())
    assert await status(store) == "ended"
    assert await one.take_over("job-1", OWNER) is None


async def test_who_lost_a_job_cannot_change_it(store):
    await store.create(job(), b"")
    held = Held(store, await store.take_over("job-1", OWNER, "a", lease_ms=1000), "a")
    assert await store.take_over("job-1", OWNER, "b", lease_ms=1000)
    with pytest.raises(LeaseLostError):
        await held.save(status="too late")
    assert held.job.status == "queued"
    assert await status(store) == "queued"


async def test_a_save_waits_for_a_database_that_is_away(store, monkeypatch):
    await store.create(job(), b"")
    held = Held(store, await store.take_over("job-1", OWNER, "a", lease_ms=60_000), "a")
    save, failures = JobStore.save, [AWAY, AWAY]

    async def failing(self, *arguments, **more):
        if failures:
            raise failures.pop()
        return await save(self, *arguments, **more)

    monkeypatch.setattr(JobStore, "save", failing)
    await held.save(status="saved")
    assert await status(store) == "saved"
    assert failures == []


async def test_a_worker_outlives_a_database_that_is_away(store, monkeypatch):
    take, failures = JobStore.take, [AWAY, AWAY]

    async def failing(self, *arguments, **more):
        if failures:
            raise failures.pop()
        return await take(self, *arguments, **more)

    monkeypatch.setattr(JobStore, "take", failing)
    handler = Handler()
    await store.create(job(), b"")
    async with working(worker(store, handler)), asyncio.timeout(10):
        await handler.ended.wait()
    assert failures == []


async def test_jobs_of_other_kinds_are_left_alone(store):
    handler = Handler()
    await store.create(job("other", kind="other"), b"")
    await store.create(job(), b"")
    async with working(worker(store, handler)), asyncio.timeout(10):
        await handler.ended.wait()
        await asyncio.sleep(0.1)
    assert handler.begun == ["job-1"]
    assert await status(store, "other") == "queued"


async def test_jobs_that_are_being_taken_on_when_the_worker_stops_are_let_go(store, monkeypatch):
    take, taking = JobStore.take, asyncio.Event()

    async def slow(self, *arguments, **more):
        taken = await take(self, *arguments, **more)
        taking.set()
        await asyncio.sleep(0.05)
        return taken

    monkeypatch.setattr(JobStore, "take", slow)
    first, second = Handler(for_ever), Handler()
    await store.create(job(), b"")
    async with working(worker(store, first, lease_s=60.0)):
        await taking.wait()
    monkeypatch.setattr(JobStore, "take", take)
    async with working(worker(store, second)), asyncio.timeout(5):
        await second.ended.wait()
