"""What is Redis' own: several processes, and strange values in it."""

import asyncio
import signal
import sys
import time

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.state import redis as module
from groxy.state._base import CoolDown, Load
from groxy.state.redis import RedisState
from tests.awake import awake_s

pytestmark = pytest.mark.redis
REST = CoolDown(until=time.time() + 86_400, reason="upstream_rate_limited")
LOAD = Load(in_flight=1, minute=100, requests=2, tokens=30)
CALLS = {
    "cool": lambda state: state.cool("acc_1", REST),
    "warm": lambda state: state.warm("acc_1"),
    "cooling": lambda state: state.cooling(),
    "publish_loads": lambda state: state.publish_loads("one", {"acc_1": LOAD}, ttl_s=60),
    "loads_of_others": lambda state: state.loads_of_others("one"),
    "publish_homes": lambda state: state.publish_homes({"talk 1": "acc_1"}),
    "homes_since": lambda state: state.homes_since(""),
    "take_lease": lambda state: state.take_lease("refresh", "one", ttl_s=60),
    "drop_lease": lambda state: state.drop_lease("refresh", "one"),
    "put_job": lambda state: state.put_job("job_1", b"x", ttl_s=60),
    "get_job": lambda state: state.get_job("job_1"),
    "cancel_job": lambda state: state.cancel_job("job_1", ttl_s=60),
    "is_job_cancelled": lambda state: state.is_job_cancelled("job_1"),
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
async def other(state, redis):
    connected = RedisState.connect(redis.url)
    yield connected
    await connected.close()


@pytest.fixture
def away(redis):
    """The URL of a server that is not there."""
    redis.stop()
    yield redis.url
    redis.start()


def keys(redis) -> set[str]:
    """The names of all keys on the server."""
    return {word for word in redis.ask("KEYS", "*").decode().split("\r\n")[1:] if word[:1] != "$"}


async def test_every_process_sees_the_same(state, other):
    await state.cool("acc_1", REST)
    seen = await other.cooling()
    await other.warm("acc_1")

    assert (seen, await state.cooling()) == ({"acc_1": REST}, {})


async def test_everything_leaves_the_server_by_itself(redis, state, monkeypatch):
    monkeypatch.setattr(module, "_HOMES_KEPT_S", 0.2)
    await state.cool("acc_1", CoolDown(until=time.time() + 0.2, reason="x"))
    await state.publish_loads("one", {"acc_1": LOAD}, ttl_s=0.2)
    await state.publish_homes({"talk 1": "acc_1"})
    await state.take_lease("refresh", "one", ttl_s=0.2)
    await state.put_job("job_1", b"x", ttl_s=0.2)
    await state.cancel_job("job_1", ttl_s=0.2)
    before = keys(redis)
    await asyncio.sleep(1.4)  # the maps of rests stay a second longer than the last rest

    assert len(before - {""}) == 13
    assert redis.ask("DBSIZE") == b":0\r\n"


async def test_rests_that_are_over_are_dropped_while_others_last(redis, state):
    for number in range(20):
        await state.cool(f"acc_{number}", CoolDown(until=time.time() + 0.1, reason="x"))
    await state.cool("acc_100", REST)
    await asyncio.sleep(0.15)

    await state.cooling()

    for part in ("HLEN groxy:rests:values", "ZCARD groxy:rests:order", "ZCARD groxy:rests:ends"):
        assert redis.ask(*part.split()) == b":1\r\n"


async def test_a_process_that_died_is_dropped_with_all_it_said(redis, state):
    await state.publish_loads("one", {"acc_1": LOAD}, ttl_s=0.1)
    await state.publish_loads("two", {"acc_1": LOAD}, ttl_s=60)
    await asyncio.sleep(0.15)

    assert await state.loads_of_others("three") == {"acc_1": LOAD}
    for part in ("HLEN groxy:loads:values", "HLEN groxy:loads:digests", "ZCARD groxy:loads:ends"):
        assert redis.ask(*part.split()) == b":1\r\n"


async def test_other_keys_on_the_server_are_left_alone(redis, state):
    redis.ask("SET", "groxy:something", "else")
    redis.ask("SET", "other:rests:values", "x")
    for call in CALLS.values():
        await call(state)

    assert {"groxy:something", "other:rests:values"} <= keys(redis)
    assert await state.cooling() == {}


# -------------------------------------------------------------------------- what is read again


async def test_rests_that_did_not_change_are_not_read_again(state, other, monkeypatch):
    for number in range(100):
        await other.cool(f"acc_{number}", REST)
    read = _note_changes(state, monkeypatch)

    await state.cooling()
    await state.cooling()
    await other.cool("acc_7", CoolDown(until=REST.until + 1, reason="x"))
    await other.warm("acc_8")
    await state.cooling()

    assert read == [(True, 100), (False, 0), (False, 2)]
    assert len(await state.cooling()) == 99


async def test_who_has_not_read_for_long_reads_everything(state, other, monkeypatch):
    await state.cool("acc_1", REST)
    await state.cool("acc_2", REST)
    await state.cooling()
    await other.warm("acc_1")
    monkeypatch.setattr(module, "GONE_KEPT_S", 0.0)
    read = _note_changes(state, monkeypatch)

    assert await state.cooling() == {"acc_2": REST}
    assert read == [(True, 2)]


async def test_rests_are_gone_with_the_memory_of_the_server(redis, state, monkeypatch):
    await state.cool("acc_1", REST)
    assert await state.cooling() == {"acc_1": REST}
    redis.ask("FLUSHALL")
    assert await state.cooling() == {}

    await state.cool("acc_1", REST)
    assert await state.cooling() == {"acc_1": REST}
    redis.ask("FLUSHALL")
    monkeypatch.setattr(module, "GONE_KEPT_S", 0.0)  # as if much time had passed
    assert await state.cooling() == {}


async def test_as_many_changes_after_a_loss_are_not_taken_for_those_before(redis, state, other):
    await other.cool("acc_1", REST)
    await other.publish_homes({"talk 1": "acc_1"})
    await state.cooling()
    cursor, _ = await state.homes_since("")
    redis.ask("FLUSHALL")
    await other.cool("acc_2", REST)
    await other.publish_homes({"talk 2": "acc_2"})

    assert await state.cooling() == {"acc_2": REST}
    assert (await state.homes_since(cursor))[1] == {"talk 2": "acc_2"}


async def test_two_reads_at_once_agree(state, other):
    for number in range(50):
        await other.cool(f"acc_{number}", REST)
        seen = await asyncio.gather(*[state.cooling() for _ in range(4)])
        assert [len(rests) for rests in seen] == [number + 1] * 4


async def test_loads_that_did_not_change_are_not_sent_again(redis, state, other):
    loads = {f"acc_{number}": LOAD for number in range(1000)}
    await other.publish_loads("one", loads, ttl_s=60)
    await state.loads_of_others("two")
    # Reading what is there now would bring something else.
    redis.ask("HSET", "groxy:loads:values", "one", "nonsense")

    assert await state.loads_of_others("two") == loads


async def test_two_who_ask_for_loads_at_once_are_told_the_same(state, other):
    for number in range(50):
        await other.publish_loads("one", {"acc_1": Load(number, 100, 2, 30)}, ttl_s=60)
        told = await asyncio.gather(*[state.loads_of_others("me") for _ in range(4)])
        assert [loads["acc_1"].in_flight for loads in told] == [number] * 4


# ------------------------------------------------------------------------------- strange values


def packed(value) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    "value", ["nonsense", packed([]), packed({"until": "soon"}), packed({"reason": "x"}), "1"]
)
async def test_a_rest_that_makes_no_sense_is_passed_over(redis, state, value):
    await state.cool("acc_1", REST)
    await state._rests.put_for("acc_2", value, left_s=60)
    await state._server.ask("ZADD", "groxy:rests:order", 100, b"\xff\xfe")

    assert await state.cooling() == {"acc_1": REST}


async def test_a_rest_with_more_to_it_is_understood(state):
    value = packed({"until": REST.until, "reason": REST.reason, "since": 1})
    await state._rests.put_for("acc_1", value, left_s=60)

    assert await state.cooling() == {"acc_1": REST}


@pytest.mark.parametrize("value", ["nonsense", packed([]), packed({"acc_1": [1, 2]}), ""])
async def test_loads_that_make_no_sense_are_passed_over(state, value):
    await state.publish_loads("one", {"acc_1": LOAD}, ttl_s=60)
    await state.publish_loads("two", {"acc_1": LOAD}, ttl_s=60)
    await state._server.ask("HSET", "groxy:loads:values", "two", value)

    assert await state.loads_of_others("three") == {"acc_1": LOAD}
    assert await state.loads_of_others("three") == {"acc_1": LOAD}


async def test_homes_that_make_no_sense_are_passed_over(state):
    await state._homes.put({"talk 1": b"\xff", "talk 2": "acc_2"}, limit=10, ttl_s=60)

    assert (await state.homes_since(""))[1] == {"talk 2": "acc_2"}


async def test_a_key_of_another_type_is_store_down(redis, state):
    redis.ask("SET", "groxy:rests:values", "x")
    redis.ask("SET", "groxy:rests:head", "x")

    with pytest.raises(GroxyError) as caught:
        await state.cool("acc_1", REST)

    assert caught.value.kind is ErrorKind.STORE_DOWN


# --------------------------------------------------------------------------- processes and faults


_PROCESS = """
import asyncio, sys
from groxy.state._base import Load
from groxy.state.redis import RedisState

async def main():
    state = RedisState.connect(sys.argv[1])
    while True:
        await state.publish_loads("one", {"acc_1": Load(1, 100, 2, 30)}, ttl_s=0.6)
        print(await state.take_lease("refresh", "one", ttl_s=0.6), flush=True)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


async def test_what_a_killed_process_did_and_had_is_free_after_its_time(redis, state):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROCESS, redis.url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        for _ in range(3):
            assert await process.stdout.readline() == b"True\n"
        assert await state.loads_of_others("two") == {"acc_1": LOAD}
        assert not await state.take_lease("refresh", "two", ttl_s=60)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    died_at = time.monotonic()
    while not await state.take_lease("refresh", "two", ttl_s=60):
        await asyncio.sleep(0.02)

    assert time.monotonic() - died_at < 1.5
    await asyncio.sleep(0.05)
    assert await state.loads_of_others("two") == {}


@every_call
async def test_the_next_call_after_a_restart_works(redis, state, call):
    await state.ping()
    redis.stop()
    with pytest.raises(GroxyError):
        await state.ping()
    redis.start()

    await call(state)

    assert (await state.cooling()).keys() <= {"acc_1"}


@every_call
async def test_the_first_call_after_a_restart_that_nobody_noticed_works(redis, state, call):
    await asyncio.gather(*[state.ping() for _ in range(8)])  # so many connections that have died
    redis.stop()
    redis.start()

    await call(state)

    await asyncio.gather(*[state.ping() for _ in range(8)])


@every_call
async def test_a_server_that_is_away_is_store_down_at_once(away, call):
    state = RedisState.connect(away)
    began = awake_s()

    with pytest.raises(GroxyError) as caught:
        await call(state)

    await state.close()
    assert awake_s() - began < 0.5
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.STORE_DOWN, 1)
    assert away.rsplit(":", 1)[1] not in caught.value.message


def _note_changes(state, monkeypatch) -> list[tuple[bool, int]]:
    """Note of every reading of the rests whether it was the whole, and how many entries."""
    read, changes_since = [], state._rests.changes_since

    async def noted(cursor):
        changes = await changes_since(cursor)
        read.append((changes.is_whole, len(changes.values)))
        return changes

    monkeypatch.setattr(state._rests, "changes_since", noted)
    return read
