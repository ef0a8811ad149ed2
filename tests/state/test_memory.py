import time

from groxy.state._base import CoolDown
from groxy.state.memory import MemoryState


async def test_rests_that_are_over_take_no_memory():
    state = MemoryState()
    for number in range(100):
        await state.cool(f"acc_{number}", CoolDown(until=time.time() - 1, reason="x"))

    await state.cooling()

    assert state._cooling == {}


async def test_two_states_share_nothing():
    first, second = MemoryState(), MemoryState()

    await first.cool("acc_1", CoolDown(until=time.time() + 60, reason="x"))

    assert await second.cooling() == {}
