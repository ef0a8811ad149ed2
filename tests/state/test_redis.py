"""What is Redis' own: several processes, a server that is away, and strange values in it."""

import asyncio
import signal
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.state._base import CoolDown
from groxy.state.redis import RedisState

pytestmark = pytest.mark.redis
REST = CoolDown(until=time.time() + 600, reason="upstream_rate_limited")
CALLS = {
    "cool": lambda state: state.cool("acc_1", REST),
    "warm": lambda state: state.warm("acc_1"),
    "cooling": lambda state: state.cooling(),
    "ping": lambda state: state.ping(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
async def state(redis):
    redis.ask("FLUSHALL")
    connected = RedisState.connect(redis.url)
    yield connected
    await connected.close()


@pytest.fixture
def stopped(redis):
    redis.stop()
    yield redis
    redis.start()


async def test_every_process_sees_the_same(redis, state):
    other = RedisState.connect(redis.url)
    await state.cool("acc_1", REST)
    seen = await other.cooling()
    await other.warm("acc_1")
    await other.close()

    assert (seen, await state.cooling()) == ({"acc_1": REST}, {})


async def test_a_rest_leaves_the_server_by_itself(redis, state):
    await state.cool("acc_1", CoolDown(until=time.time() + 0.5, reason="x"))
    assert redis.ask("EXISTS", "groxy:cooling:acc_1") == b":1\r\n"
    await asyncio.sleep(0.6)

    assert redis.ask("EXISTS", "groxy:cooling:acc_1") == b":0\r\n"


async def test_other_keys_on_the_server_are_left_alone(redis, state):
    redis.ask("SET", "groxy:something", "else")
    redis.ask("SET", "other:cooling:acc_2", f'{{"until":{REST.until},"reason":"x"}}')
    await state.cool("acc_1", REST)
    assert await state.cooling() == {"acc_1": REST}

    await state.warm("acc_1")

    assert await state.cooling() == {}
    assert redis.ask("DBSIZE") == b":2\r\n"


@pytest.mark.parametrize("value", ["", "nonsense", "[]", '{"until":"soon"}', '{"reason":"x"}', "1"])
async def test_a_value_that_makes_no_sense_is_passed_over(redis, state, value):
    await state.cool("acc_1", REST)
    redis.ask("SET", "groxy:cooling:acc_2", value)

    assert await state.cooling() == {"acc_1": REST}


async def test_a_key_of_another_type_is_passed_over(redis, state):
    await state.cool("acc_1", REST)
    redis.ask("LPUSH", "groxy:cooling:acc_2", "x")

    assert await state.cooling() == {"acc_1": REST}


@pytest.mark.usefixtures("stopped")
@every_call
async def test_a_server_that_is_away_is_store_down(redis, call):
    state = RedisState.connect(redis.url)

    with pytest.raises(GroxyError) as caught:
        await call(state)

    await state.close()
    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert str(redis.port) not in caught.value.message


@every_call
async def test_the_next_call_after_a_restart_works(redis, state, call):
    await state.ping()
    redis.stop()
    with pytest.raises(GroxyError):
        await state.ping()
    redis.start()

    await call(state)

    assert (await state.cooling()).keys() <= {"acc_1"}


async def test_a_server_that_hangs_is_given_up_after_seconds(redis, state):
    await state.ping()
    redis.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(GroxyError) as caught:
            await state.ping()
    finally:
        redis.process.send_signal(signal.SIGCONT)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert time.monotonic() - began < 10


async def test_connecting_waits_for_the_first_call():
    state = RedisState.connect("redis://127.0.0.1:1/0")

    await state.close()
