"""What shared state promises, whoever keeps it."""

import asyncio
import time

import pytest

from groxy.state._base import CoolDown
from groxy.state.memory import MemoryState
from groxy.state.redis import RedisState


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def state(request):
    if request.param == "memory":
        yield MemoryState()
        return
    server = request.getfixturevalue("redis")
    server.ask("FLUSHALL")
    connected = RedisState.connect(server.url)
    yield connected
    await connected.close()


def rest_of(seconds: float, reason: str = "upstream_rate_limited") -> CoolDown:
    return CoolDown(until=time.time() + seconds, reason=reason)


async def test_at_first_nothing_rests(state):
    assert await state.cooling() == {}


async def test_a_rest_comes_back_as_it_was_given(state):
    rest = rest_of(60)

    await state.cool("acc_1", rest)

    assert await state.cooling() == {"acc_1": rest}


async def test_each_account_has_a_rest_of_its_own(state):
    first, second = rest_of(60), rest_of(90, "upstream_auth_failed")

    await state.cool("acc_1", first)
    await state.cool("acc_2", second)

    assert await state.cooling() == {"acc_1": first, "acc_2": second}


async def test_a_later_word_on_an_account_replaces_the_earlier_one(state):
    shorter = rest_of(30, "upstream_unavailable")

    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_1", shorter)

    assert await state.cooling() == {"acc_1": shorter}


async def test_a_rest_ends_by_itself(state):
    await state.cool("acc_1", rest_of(0.05))
    await state.cool("acc_2", rest_of(60))
    await asyncio.sleep(0.1)

    assert set(await state.cooling()) == {"acc_2"}


async def test_a_rest_that_is_over_already_ends_the_one_before(state):
    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_1", rest_of(-1))

    assert await state.cooling() == {}


async def test_a_warmed_account_rests_no_longer(state):
    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_2", rest_of(60))

    await state.warm("acc_1")

    assert set(await state.cooling()) == {"acc_2"}


async def test_warming_an_account_that_does_not_rest_changes_nothing(state):
    await state.cool("acc_1", rest_of(60))

    await state.warm("acc_2")

    assert set(await state.cooling()) == {"acc_1"}


@pytest.mark.parametrize("account_id", ["first", "*", "a?[b]*", "a b\n", "übergroß", "a:b:c", ""])
async def test_any_id_of_an_account_will_do(state, account_id):
    await state.cool("other", rest_of(60))
    await state.cool(account_id, rest_of(60))
    assert set(await state.cooling()) == {"other", account_id}

    await state.warm(account_id)
    assert set(await state.cooling()) == {"other"}


async def test_what_was_handed_out_is_a_copy(state):
    await state.cool("acc_1", rest_of(60))

    (await state.cooling()).clear()

    assert set(await state.cooling()) == {"acc_1"}


async def test_thousands_of_accounts_may_rest(state):
    ids = {f"acc_{number}" for number in range(3000)}

    for account_id in ids:
        await state.cool(account_id, rest_of(60))

    assert set(await state.cooling()) == ids


async def test_a_state_that_is_there_answers_a_ping(state):
    assert await state.ping() is None
