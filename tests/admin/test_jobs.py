import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from groxy.admin import jobs as module
from groxy.admin.jobs import Jobs
from groxy.core.errors import ErrorKind, GroxyError
from groxy.state.memory import MemoryState
from tests.admin.office import events_of


class Shaky(MemoryState):
    """State that can be out of reach."""

    is_down = False

    async def put_job(self, job_id, document, *, ttl_s):
        self.check()
        await super().put_job(job_id, document, ttl_s=ttl_s)

    async def get_job(self, job_id):
        self.check()
        return await super().get_job(job_id)

    async def is_job_cancelled(self, job_id):
        self.check()
        return await super().is_job_cancelled(job_id)

    def check(self):
        if self.is_down:
            raise GroxyError(ErrorKind.STORE_DOWN, "The shared state is out of reach.")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let everything that waits do so for milliseconds."""
    for name in ("_WRITE_EVERY_S", "_LOOK_EVERY_S"):
        monkeypatch.setattr(module, name, 0.01)


@pytest.fixture
def state():
    return Shaky()


@asynccontextmanager
async def working(state):
    started: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as tasks:
        yield Jobs(state, lambda work: started.append(tasks.create_task(work)))


async def stream_of(jobs, task_id):
    return b"".join([event async for event in jobs.follow(task_id)])


async def test_steps_of_two_looks_are_told_one_by_one_and_none_twice(state):
    async def work(progress):
        for item in "abcdef":
            await progress.step(item, detail={"n": item}, error="bad" if item == "c" else "")
            await asyncio.sleep(0.02)
        return {"all": 6}

    async with working(state) as jobs:
        task_id = await jobs.start("letters", 6, work)
        events = events_of(await stream_of(jobs, task_id))

    steps = [event for event in events if event["type"] == "progress"]
    assert [step["item"] for step in steps] == list("abcdef")
    assert [(step["processed"], step["ok"], step["fail"]) for step in steps[1:4]] == [
        (2, 2, 0),
        (3, 2, 1),
        (4, 3, 1),
    ]
    assert (steps[2]["error"], "error" in steps[1]) == ("bad", False)
    assert (events[-1]["type"], events[-1]["result"]) == ("done", {"all": 6})


async def test_of_very_many_steps_the_newest_are_told(state):
    async def work(progress):
        await asyncio.sleep(0.05)
        for number in range(1_000):
            await progress.step(str(number))
        await asyncio.sleep(0.1)
        return {}

    async with working(state) as jobs:
        task_id = await jobs.start("numbers", 1_000, work)
        events = events_of(await stream_of(jobs, task_id))

    items = [event["item"] for event in events if event["type"] == "progress"]
    assert items == [str(number) for number in range(800, 1_000)]


async def test_a_stream_in_which_nothing_happens_is_kept_alive(state, monkeypatch):
    monkeypatch.setattr(module, "_PING_EVERY_S", 0.03)

    async def work(_progress):
        await asyncio.sleep(0.2)
        return {}

    async with working(state) as jobs:
        body = await stream_of(jobs, await jobs.start("nothing", 0, work))

    assert body.count(b": ping\n\n") >= 2


async def test_a_state_out_of_reach_for_a_moment_ends_neither_work_nor_stream(state):
    async def work(progress):
        state.is_down = True
        await progress.step("a")
        await asyncio.sleep(0.1)
        state.is_down = False
        await progress.step("b")
        return {}

    async with working(state) as jobs:
        events = events_of(await stream_of(jobs, await jobs.start("shaky", 2, work)))

    assert [event.get("item") for event in events if event["type"] == "progress"] == ["a", "b"]
    assert events[-1]["type"] == "done"


async def test_a_state_that_stays_out_of_reach_ends_the_stream_with_an_error(state, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "_LAST_TRIES", 1)

    async def work(_progress):
        state.is_down = True
        await asyncio.sleep(0.2)
        return {}

    async with working(state) as jobs:
        events = events_of(await stream_of(jobs, await jobs.start("down", 1, work)))

    assert (events[-1]["type"], events[-1]["error"]) == (
        "error",
        "The shared state is out of reach.",
    )


async def test_a_job_whose_process_is_gone_ends_its_stream(state, monkeypatch):
    monkeypatch.setattr(module, "_RUNNING_TTL_S", 0.05)
    forgotten: list[Any] = []
    jobs = Jobs(state, forgotten.append)

    async def work(_progress):
        return {}

    task_id = await jobs.start("lost", 1, work)
    events = events_of(await stream_of(jobs, task_id))
    forgotten[0].close()

    assert [event["type"] for event in events] == ["snapshot", "error"]
    assert "gone" in events[1]["error"]


async def test_a_job_that_nobody_could_follow_does_not_begin(state):
    state.is_down = True
    begun = []

    async def work(_progress):
        begun.append(1)
        return {}

    async with working(state) as jobs:
        with pytest.raises(GroxyError) as caught:
            await jobs.start("down", 1, work)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert begun == []


async def test_many_who_follow_a_job_share_their_looks_and_get_a_long_end_in_pieces(state):
    """Each decoding and encoding 10 MB of its own, 200 of them stopped everything for 36 s."""

    async def work(progress):
        await asyncio.sleep(0.2)
        return {str(number): "x" * 100 for number in range(5_000)}

    async with working(state) as jobs:
        task_id = await jobs.start("long", 1, work)
        looks, find = 0, jobs.find

        async def counted(name):
            nonlocal looks
            looks += 1
            return await find(name)

        async def pieces():
            return [piece async for piece in jobs.follow(task_id)]

        jobs.find = counted
        streams = await asyncio.gather(*(pieces() for _ in range(50)))

    assert all(stream == streams[0] for stream in streams)
    assert len(events_of(b"".join(streams[0]))[-1]["result"]) == 5_000
    assert max(map(len, streams[0])) <= 64 * 1024
    assert looks < 300  # 50 that each look for themselves come to a thousand
