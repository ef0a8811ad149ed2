"""Limits and balances that three processes keep together: never more, and hardly less."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from groxy.core.grants import Rates
from tests.e2e.money import Bank
from tests.e2e.running import Gateway, chat_body, poll
from tests.servers import PostgresServer, RedisServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.redis,
    pytest.mark.postgres,
    pytest.mark.timeout(240),
]

LIMIT = 600
MINUTE_S = 60.0
SECRET = "5a" * 32
IN_FORCE_S = 1.0
SLOW = "hi [[sandbox: slow_first=6]]"
"""Longer than it takes to ask sixty times, on a busy machine too."""


@contextmanager
def three(folder: Path, store_url: str, state_url: str) -> Iterator[list[Gateway]]:
    """Run three gateways on one database and one Redis."""
    config = f'[app]\nsecret_key = "{SECRET}"\n[store]\nurl = "{store_url}"\n'
    config += f'[state]\nurl = "{state_url}"\n'
    gateways = []
    for number in range(3):
        own = folder / f"process-{number}"
        own.mkdir()
        gateways.append(Gateway(folder=own, config=config))
    try:
        for gateway in gateways:
            gateway.start()
        yield gateways
    finally:
        for gateway in gateways:
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.kill()


@pytest.fixture
def store_url(postgres: PostgresServer) -> str:
    return postgres.empty_database()


@pytest.fixture
def gateways(tmp_path: Path, store_url: str, redis: RedisServer) -> Iterator[list[Gateway]]:
    with three(tmp_path, store_url, redis.url) as running:
        yield running


@pytest.fixture
def bank(gateways: list[Gateway], store_url: str) -> Bank:
    return Bank(gateways[0], store_url, bytes.fromhex(SECRET))


async def ask(
    session: aiohttp.ClientSession, gateway: Gateway, text: str = "hi"
) -> tuple[int, float]:
    """Ask once; return the status, and when the gateway got the request, in seconds."""
    url = f"{gateway.url}/v1/chat/completions"
    async with session.post(url, json=chat_body(text, max_tokens=60)) as answer:
        await answer.read()
        came = answer.headers["x-request-id"].removeprefix("req_")[:11]
        return answer.status, int(came, 16) / 1000


async def saturated(gateways: list[Gateway], key: str, for_s: float) -> list[float]:
    """Ask all gateways as often as they answer; return when those came that passed."""
    passed: list[float] = []
    ends_at = time.monotonic() + for_s

    async def client(session: aiohttp.ClientSession, gateway: Gateway) -> None:
        while time.monotonic() < ends_at:
            status, came = await ask(session, gateway)
            if status == 200:
                passed.append(came)
            else:
                assert status == 429
                await asyncio.sleep(0.05)

    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(client(session, one) for one in gateways for _ in range(4)))
    return sorted(passed)


def test_in_a_minute_three_processes_let_pass_what_the_limit_says(
    gateways: list[Gateway], bank: Bank
) -> None:
    _, key = bank.user(1000, rates=Rates(requests=LIMIT))
    _known_everywhere(gateways, key)

    passed = asyncio.run(saturated(gateways, key, MINUTE_S + 8))

    first = passed[0]
    within_a_minute = sum(moment < first + MINUTE_S for moment in passed)
    assert LIMIT * 0.99 <= within_a_minute <= LIMIT
    # Wherever else a minute begins; 50 ms for what lies between coming and passing.
    for begin in passed[:: LIMIT // 20]:
        assert sum(begin <= one < begin + MINUTE_S - 0.05 for one in passed) <= LIMIT
    # As soon as it is over, the next minute's requests pass.
    assert len(passed) >= LIMIT * 1.2


def test_three_processes_admit_exactly_those_that_a_balance_covers(
    gateways: list[Gateway], bank: Bank
) -> None:
    user_id, key = bank.user(1000)
    _known_everywhere(gateways, key)
    gateways[0].key = key
    held = bank.entry(gateways[0].ask(SLOW, max_tokens=60).id).held_ticks
    covered = 7
    bank.grant(user_id, covered * held + held // 2 - bank.balance(user_id))
    time.sleep(IN_FORCE_S)

    statuses = asyncio.run(all_at_once(gateways, key))

    assert statuses.count(200) == covered
    assert set(statuses) == {200, 402}
    assert bank.balance(user_id) > 0
    assert bank.verified().findings == ()


async def all_at_once(gateways: list[Gateway], key: str) -> list[int]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        asks = [ask(session, one, SLOW) for one in gateways for _ in range(20)]
        return [status for status, _ in await asyncio.gather(*asks)]


def _known_everywhere(gateways: list[Gateway], key: str) -> None:
    """Wait until each gateway takes a key; each asks once for that."""
    for gateway in gateways:
        gateway.key = key
        poll(partial(_is_served, gateway), what="a new key")


def _is_served(gateway: Gateway) -> bool:
    return gateway.ask("hi", max_tokens=60).status == 200
