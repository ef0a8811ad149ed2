"""A server that is away, hangs, is slow or was started again, and callers that leave in between."""

import asyncio
import random
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from groxy.core.errors import ErrorKind, GroxyError
from groxy.state import _redis_server as module
from groxy.state._redis_server import RedisServer, Script

pytestmark = pytest.mark.redis
ECHO = Script("return ARGV[1]")


@pytest.fixture
async def server(redis):
    connected = RedisServer.connect(redis.url)
    yield connected
    await connected.close()


class Proxy:
    """Stands between a client and a server, and holds replies back for `delay_s`."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.url = ""


@asynccontextmanager
async def proxied(redis):
    """Run a proxy in front of a Redis."""
    proxy, tasks = Proxy(), set[asyncio.Task[Any]]()

    async def pass_on(reader, writer, *, is_reply):
        with suppress(OSError):
            try:
                while data := await reader.read(65536):
                    if is_reply:
                        await asyncio.sleep(proxy.delay_s)
                    writer.write(data)
            finally:
                writer.close()

    async def serve(reader, writer):
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # asyncio logs a handler that ends by being cancelled.
        with suppress(asyncio.CancelledError):
            upstream = await asyncio.open_connection("127.0.0.1", redis.port)
            await asyncio.gather(
                pass_on(reader, upstream[1], is_reply=False),
                pass_on(upstream[0], writer, is_reply=True),
            )

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    try:
        yield proxy
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def test_connecting_waits_for_the_first_call():
    server = RedisServer.connect("redis://127.0.0.1:1/0")

    await server.close()


async def test_a_script_runs_on_a_server_that_does_not_know_it(redis, server):
    redis.ask("SCRIPT", "FLUSH")
    assert await server.run(ECHO, (), "one") == b"one"

    redis.ask("SCRIPT", "FLUSH")
    assert await server.run(ECHO, (), "two") == b"two"


async def test_a_command_that_is_refused_is_store_down(redis, server):
    redis.ask("SET", "text", "x")

    with pytest.raises(GroxyError) as caught:
        await server.ask("INCR", "text")

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "integer" in caught.value.detail


async def test_a_wrong_password_is_store_down_and_not_told(redis):
    server = RedisServer.connect(f"redis://nobody:secret-word@127.0.0.1:{redis.port}/0")

    with pytest.raises(GroxyError) as caught:
        await server.ask("PING")

    await server.close()
    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert "secret-word" not in f"{caught.value.message} {caught.value.detail}"


async def test_a_server_that_became_a_replica_is_looked_up_again(redis, server):
    first = await server.ask("CLIENT", "ID")
    redis.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(GroxyError) as caught:
            await server.ask("SET", "text", "x")
        assert await server.ask("CLIENT", "ID") != first
    finally:
        redis.ask("REPLICAOF", "NO", "ONE")

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert await server.ask("SET", "text", "x")


async def test_a_server_that_hangs_is_given_up_after_seconds(redis, server):
    await server.ask("PING")
    redis.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(GroxyError) as caught:
            await server.ask("PING")
    finally:
        redis.process.send_signal(signal.SIGCONT)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert 1.5 < time.monotonic() - began < 3.5
    assert await server.run(ECHO, (), "back") == b"back"


async def test_many_callers_of_a_server_that_hangs_are_all_let_go_in_time(redis, server):
    await server.ask("PING")
    redis.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        results = await asyncio.gather(
            *[server.ask("PING") for _ in range(100)], return_exceptions=True
        )
    finally:
        redis.process.send_signal(signal.SIGCONT)

    assert time.monotonic() - began < 4.8
    assert {getattr(result, "kind", None) for result in results} == {ErrorKind.STORE_DOWN}
    assert await server.run(ECHO, (), "back") == b"back"


async def test_more_callers_than_connections_take_turns(redis):
    async with proxied(redis) as proxy:
        server = RedisServer.connect(proxy.url)
        words = [str(number).encode() for number in range(200)]
        replies = await asyncio.gather(*[server.run(ECHO, (), word) for word in words])
        clients = redis.ask("CLIENT", "LIST").count(b"id=")
        await server.close()

    assert replies == words
    assert clients <= module._MAX_CONNECTIONS + 1


async def test_a_slow_server_is_waited_for_but_not_for_long(redis, monkeypatch):
    monkeypatch.setattr(module, "_SOCKET_TIMEOUT_S", 0.5)
    async with proxied(redis) as proxy:
        server = RedisServer.connect(proxy.url)
        proxy.delay_s = 0.1
        assert await server.run(ECHO, (), "slow") == b"slow"

        proxy.delay_s = 5.0
        began = time.monotonic()
        with pytest.raises(GroxyError) as caught:
            await server.run(ECHO, (), "lost")
        took_s = time.monotonic() - began

        proxy.delay_s = 0.0
        # Each call has the reply to itself, not the one that came too late for another.
        assert await server.run(ECHO, (), "own") == b"own"
        await server.close()

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert 0.4 < took_s < 1.5


async def test_a_caller_that_leaves_does_not_leave_its_reply_to_the_next(redis):
    async with proxied(redis) as proxy:
        server = RedisServer.connect(proxy.url)
        await server.ask("PING")
        for number in range(20):
            proxy.delay_s = 0.05
            call = asyncio.get_running_loop().create_task(server.run(ECHO, (), "left"))
            await asyncio.sleep(0.002 * (number % 10))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            proxy.delay_s = 0.0
            assert await server.run(ECHO, (), f"stays {number}") == f"stays {number}".encode()
        await server.close()


async def test_a_caller_that_leaves_is_let_go_whenever_it_does(server):
    """Each turn of the loop between sending and reading is a moment to leave in."""
    await server.ask("PING")
    left = 0
    for turns in range(60):
        call = asyncio.get_running_loop().create_task(server.run(ECHO, (), "left"))
        for _ in range(turns % 12):
            await asyncio.sleep(0)
        is_late = call.done()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() or is_late
        left += call.cancelled()
    assert left > 10


async def test_callers_that_leave_cost_no_connections(redis):
    server, chance = RedisServer.connect(redis.url), random.Random(7)

    async def one(number: int) -> None:
        for count in range(10):
            word = f"{number} {count}".encode()
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.random() * 0.02):
                    assert await server.run(ECHO, (), word) == word

    await asyncio.gather(*[one(number) for number in range(100)])
    pool = server._client.connection_pool
    in_use, clients = len(pool._in_use_connections), redis.ask("CLIENT", "LIST").count(b"id=")
    assert await server.run(ECHO, (), "after") == b"after"
    await server.close()

    assert in_use == 0
    assert clients <= module._MAX_CONNECTIONS + 2


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_that_is_killed_in_mid_use_is_found_again(redis, new_loop):
    async def use() -> tuple[list[str], list[float]]:
        server = RedisServer.connect(redis.url)
        events: list[str] = []
        spans: list[float] = []
        is_over = False

        async def one(name: int) -> None:
            count = 0
            while not is_over:
                count += 1
                word, began = f"{name} {count}", time.monotonic()
                try:
                    assert await server.run(ECHO, (), word) == word.encode()
                    event = "works"
                except GroxyError as error:
                    event = "down" if error.kind is ErrorKind.STORE_DOWN else error.kind.value
                    await asyncio.sleep(0.005)
                spans.append(time.monotonic() - began)
                if not events or events[-1] != event:
                    events.append(event)

        async def until(event: str) -> None:
            async with asyncio.timeout(10):
                while events[-1:] != [event]:
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as tasks:
            for name in range(20):
                tasks.create_task(one(name))
            await until("works")
            for _ in range(3):
                redis.process.kill()
                await asyncio.to_thread(redis.process.wait)
                await until("down")
                await asyncio.to_thread(redis.start)
                await until("works")
            is_over = True
        await server.close()
        return events, spans

    with asyncio.Runner(loop_factory=new_loop) as runner:
        events, spans = runner.run(use())
    assert events[0] == events[-1] == "works"
    assert set(events) == {"works", "down"}
    assert events.count("down") >= 3
    assert max(spans) < 3.5
