"""`Idempotency-Key` as clients meet it: over sockets, with SDKs, through crashes, in a cluster."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from groxy.store.database import Database
from groxy.store.entries import RequestEntry, last_requests
from tests.e2e.running import (
    Gateway,
    account_toml,
    chat_body,
    config_toml,
    poll_async,
    running,
)
from tests.e2e.scripted import (
    TEXT,
    Call,
    Seat,
    Upstream,
    Wire,
    chunks_of,
    end_well,
    fails,
    waits,
)
from tests.servers import PostgresServer, RedisServer, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

_PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def seat(upstream: Upstream) -> Seat:
    return upstream.seat("again")


@pytest.fixture(scope="module")
def gateway(seat, tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(account_toml("first", seat))
    with running(Gateway(folder=tmp_path_factory.mktemp("again"), config=config)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Gateway]:
    with running(Gateway(folder=tmp_path_factory.mktemp("box"), config=config_toml())) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _no_old_calls(seat) -> None:
    seat.clear()


@pytest.fixture
def key(request) -> str:
    """A key of each test's own."""
    return f"of {request.node.name}"


def _with(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def _post(
    session: aiohttp.ClientSession, gateway: Gateway, key: str, **fields: Any
) -> tuple[int, bytes, bool]:
    """Return status, body, and whether it was a replay."""
    async with session.post(
        gateway.url + _PATH, json=chat_body(**fields), headers=gateway.auth | _with(key)
    ) as reply:
        body = await reply.read()
        return reply.status, body, reply.headers.get("idempotent-replayed") == "true"


class Held:
    """A stream that goes on when it is let."""

    def __init__(self) -> None:
        self.may_go_on = False

    async def __call__(self, _call: Call, wire: Wire) -> None:
        await wire.begin_stream()
        events = chunks_of()
        for event in events[:3]:
            await wire.event(event)
        while not self.may_go_on:
            await asyncio.sleep(0.01)
        for event in events[3:]:
            await wire.event(event)
        await end_well(wire)


# -------------------------------------------------------------------------------------------- SDKs


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_gets_the_same_again(gateway, seat, key, stream):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key) as client:

        def ask() -> list[Any]:
            made: Any = client.chat.completions.create(
                **chat_body(stream=stream), extra_headers=_with(key)
            )
            return list(made) if stream else [made]

        first = ask()
        assert ask() == first
    assert len(seat.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_client_gets_the_same_again(sandbox, key, stream):
    before = len(sandbox.entries())
    with anthropic.Anthropic(base_url=sandbox.url, api_key=sandbox.key) as client:

        def ask() -> list[Any]:
            made: Any = client.messages.create(
                **chat_body(stream=stream), max_tokens=50, extra_headers=_with(key)
            )
            return list(made) if stream else [made]

        first = ask()
        assert ask() == first
    assert len(sandbox.entries()) == before + 1


def test_openais_client_is_told_of_another_body(gateway, key):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key, max_retries=0) as client:
        client.chat.completions.create(**chat_body(), extra_headers=_with(key))
        with pytest.raises(openai.ConflictError) as caught:
            client.chat.completions.create(**chat_body("Another"), extra_headers=_with(key))
    assert caught.value.code == "idempotency_key_reused"
    assert caught.value.param == "idempotency-key"


# ------------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_twins_make_one_call_and_one_entry(gateway, seat, key, stream):
    seat.always(waits(0.3))
    before = len(gateway.entries())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = [_post(session, gateway, key, stream=stream) for _ in range(50)]
        answers = await asyncio.gather(*asked)
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, body, _ in answers}) == 1
    assert sum(not is_replay for _, _, is_replay in answers) == 1
    assert len(seat.calls) == 1
    assert len(gateway.entries()) == before + 1


async def test_a_twin_joins_in_the_middle_of_a_stream(gateway, seat, key):
    held = Held()
    seat.will(held)
    async with aiohttp.ClientSession() as session:
        first = asyncio.create_task(_post(session, gateway, key, stream=True))
        await poll_async(lambda: seat.calls, what="the call")
        headers = gateway.auth | _with(key)
        async with session.post(
            gateway.url + _PATH, json=chat_body(stream=True), headers=headers
        ) as twin:
            began = await twin.content.readuntil(b"\n\n")
            assert b"chat.completion.chunk" in began, "it comes while the first one still runs"
            assert not first.done()
            held.may_go_on = True
            whole = began + await twin.read()
        assert (await first)[1] == whole
    assert len(seat.calls) == 1


async def test_a_client_that_left_gets_the_whole_reply_when_it_asks_again(gateway, seat, key):
    held = Held()
    seat.will(held)
    before = len(gateway.entries())
    body = json.dumps(chat_body(stream=True)).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = (
        f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await reader.readuntil(b"\n\n")
    writer.transport.abort()
    await asyncio.sleep(0.5)  # Longer than it takes to notice who left.
    assert not seat.calls[0].gone.is_set()
    held.may_go_on = True
    async with aiohttp.ClientSession() as session:
        status, again, is_replay = await _post(session, gateway, key, stream=True)
    assert (status, is_replay) == (200, True)
    assert again.endswith(b"data: [DONE]\n\n")
    entries = gateway.entries()[: len(gateway.entries()) - before]
    assert [entry.outcome for entry in entries] == ["ok"]
    assert len(seat.calls) == 1


async def test_a_gateway_that_stops_waits_for_what_its_client_left(upstream, tmp_path):
    held = Held()
    seat = upstream.seat("stopped").will(held)
    gateway = Gateway(folder=tmp_path, config=config_toml(account_toml("first", seat)))
    with running(gateway):
        async with aiohttp.ClientSession() as session:
            leaving = asyncio.create_task(_post(session, gateway, "k", stream=True))
            await poll_async(lambda: seat.calls, what="the call")
            leaving.cancel()
        stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
        await asyncio.sleep(0.5)
        assert not stopping.done()
        held.may_go_on = True
        assert await stopping == 0
    assert [entry.outcome for entry in gateway.entries()] == ["ok"]


async def test_what_failed_upstream_runs_again(gateway, seat, key):
    seat.will(*[fails(500)] * 4)
    async with aiohttp.ClientSession() as session:
        status, _, _ = await _post(session, gateway, key)
        assert status >= 500
        seat.clear()
        await asyncio.sleep(0.2)
        answers = []
        for _ in range(20):
            answers.append(await _post(session, gateway, key))
            if answers[-1][0] == 200:
                break
            await asyncio.sleep(0.2)
    status, body, is_replay = answers[-1]
    assert (status, is_replay) == (200, False)
    assert json.loads(body)["choices"][0]["message"]["content"] == TEXT


# ----------------------------------------------------------------------------------------- crashes


async def test_whatever_dies_each_key_is_paid_exactly_once(upstream, tmp_path):
    """Killed three times under load: what has an entry has its reply, and the other way round."""
    seat = upstream.seat("killed").always(waits(0.02))
    gateway = Gateway(folder=tmp_path, config=config_toml(account_toml("first", seat)))
    keys = [f"key-{number}" for number in range(240)]
    with running(gateway):
        for part in range(3):
            some = keys[part * 80 : (part + 1) * 80]
            await _ask_until_killed(gateway, some)
            await asyncio.to_thread(gateway.start)
            entered = {entry.id for entry in gateway.entries()}
            await _ask_again(gateway, some, entered)
        ok = [entry for entry in gateway.entries() if entry.outcome == "ok"]
    assert len(ok) == len(keys)


async def _ask_until_killed(gateway: Gateway, keys: list[str]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as session:
        answered = []

        async def ask(key: str) -> None:
            with suppress(aiohttp.ClientError):
                answered.append(await _post(session, gateway, key, stream=True))

        enough = random.randint(1, len(keys) // 2)
        asked = [asyncio.create_task(ask(key)) for key in keys]
        await poll_async(lambda: len(answered) >= enough, within_s=20, what="some replies")
        await asyncio.to_thread(gateway.kill)
        await asyncio.gather(*asked)


async def _ask_again(gateway: Gateway, keys: list[str], entered: set[str]) -> None:
    """Ask with all keys; replayed is what was entered before, and nothing else."""
    async with aiohttp.ClientSession() as session:
        replayed = set()
        for key in keys:
            headers = gateway.auth | _with(key)
            body = chat_body(stream=True)
            async with session.post(gateway.url + _PATH, json=body, headers=headers) as reply:
                assert (await reply.read()).endswith(b"data: [DONE]\n\n")
                if reply.headers.get("idempotent-replayed"):
                    replayed.add(reply.headers["x-groxy-original-request-id"])
        assert replayed <= entered


# ----------------------------------------------------------------------------------------- cluster


@pytest.fixture
def two(
    upstream, postgres: PostgresServer, redis: RedisServer, tmp_path
) -> Iterator[tuple[list[Gateway], Seat, str]]:
    """Two gateways with one PostgreSQL and one Redis."""
    redis.start()
    redis.ask("FLUSHALL")
    url, seat = postgres.new_database(), upstream.seat("shared")
    secret = "5a" * 32
    extra = f'secret_key = "{secret}"\n[store]\nurl = "{url}"\n[state]\nurl = "{redis.url}"\n'
    with ExitStack() as stack:
        gateways = []
        for number in range(2):
            folder = tmp_path / f"gateway-{number}"
            folder.mkdir()
            config = config_toml(account_toml("first", seat), extra=extra)
            gateway = Gateway(folder=folder, config=config, port=free_port())
            gateways.append(stack.enter_context(running(gateway)))
        yield gateways, seat, url


@pytest.mark.postgres
@pytest.mark.redis
async def test_twins_at_two_gateways_run_once(two, tmp_path):
    gateways, seat, url = two
    seat.always(waits(0.4))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = [
            _post(session, gateways[number % 2], "k", stream=True, text="Hello")
            for number in range(20)
        ]
        answers = await asyncio.gather(*asked)
        later = await _post(session, gateways[1], "k", stream=True, text="Hello")
        other = await _post(session, gateways[0], "k", stream=True, text="Another")
    assert {status for status, _, _ in answers} == {200}
    assert {body for _, body, _ in answers} == {later[1]}
    assert sum(not is_replay for _, _, is_replay in answers) == 1
    assert other[0] == 409
    assert len(seat.calls) == 1
    assert [entry.outcome for entry in await _entries(url, tmp_path)] == ["ok"]


async def _entries(url: str, folder: Any) -> list[RequestEntry]:
    database = await Database.open(url, folder)
    try:
        return await last_requests(database, 100)
    finally:
        await database.close()
