import asyncio
import time

from groxy.state import memory
from groxy.state._base import CoolDown
from groxy.state.memory import MemoryState


async def test_rests_that_are_over_take_no_memory():
    state = MemoryState()
    for number in range(100):
        await state.cool(f"acc_{number}", CoolDown(until=time.time() - 1, reason="x"))

    await state.cooling()

    assert state._cooling == {}


async def test_jobs_that_are_over_take_no_memory(monkeypatch):
    monkeypatch.setattr(memory, "_PRUNE_EVERY_S", 0.0)
    state = MemoryState()
    for number in range(100):
        await state.put_job(f"job_{number}", b"x", ttl_s=0.01)
    await asyncio.sleep(0.02)

    await state.put_job("job_100", b"x", ttl_s=60)

    assert list(state._jobs._entries) == ["job_100"]


async def test_two_states_share_nothing():
    first, second = MemoryState(), MemoryState()

    await first.cool("acc_1", CoolDown(until=time.time() + 60, reason="x"))
    await first.publish_homes({"talk 1": "acc_1"})
    await first.take_lease("refresh", "one", ttl_s=60)

    assert await second.cooling() == {}
    assert (await second.homes_since(""))[1] == {}
    assert await second.take_lease("refresh", "two", ttl_s=60)


async def test_a_cursor_of_another_object_is_not_taken_for_one_of_this():
    first, second = MemoryState(), MemoryState()
    for number in range(5):
        await first.publish_homes({f"talk {number}": "acc_1"})
    cursor, _ = await first.homes_since("")
    await second.publish_homes({"talk": "acc_2"})

    assert (await second.homes_since(cursor))[1] == {"talk": "acc_2"}
