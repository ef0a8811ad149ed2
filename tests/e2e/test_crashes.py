"""A gateway is killed at random moments under load, a hundred times; its books add up each time.

No reply that a client got whole is unbilled, no balance is other than its entries, and nothing that
was held for a request survives the process that held it.
"""

import asyncio
import json
import os
import random
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from groxy.core.amounts import usd_text
from tests.e2e.money import Bank
from tests.e2e.running import Gateway, chat_body

CRASHES = int(os.environ.get("GROXY_TEST_CRASHES", "100"))
CLIENTS = 12

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


class Load:
    """Clients that ask whole and streamed replies until nobody answers any more."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._gateway = gateway
        self._key = key
        self.complete: list[str] = []
        """Ids of requests whose replies came whole."""

    async def run_until_killed(self, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(after_s, self._gateway.kill)
        headers = {"Authorization": f"Bearer {self._key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(self._client(session, number) for number in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        url = f"{self._gateway.url}/v1/chat/completions"
        turn = 0
        while True:
            turn += 1
            body = chat_body(f"say {turn}", stream=bool((turn + number) % 2), max_tokens=60)
            try:
                async with session.post(url, json=body) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, OSError):
                return
            if answer.status == 200 and _is_whole(content, is_stream=bool(body["stream"])):
                self.complete.append(answer.headers["x-request-id"])


def _is_whole(content: bytes, *, is_stream: bool) -> bool:
    if is_stream:
        return content.endswith(b"data: [DONE]\n\n")
    with suppress(ValueError):
        return "choices" in json.loads(content)
    return False


def available(gateway: Gateway, key: str) -> str:
    """Return what a key could spend now, as a quote tells it."""
    body = json.dumps(chat_body("hi")).encode()
    headers = {"Authorization": f"Bearer {key}"}
    found: str = gateway.request("POST", "/v1/quote", body, headers).json["available"]
    return found


def test_a_hundred_kills_leave_books_that_add_up(tmp_path: Path) -> None:
    gateway = Gateway(folder=tmp_path)
    dice = random.Random(7)
    gateway.start()
    bank = Bank(gateway)
    user_id, key = bank.user(1000)
    told: set[str] = set()
    for crash in range(CRASHES):
        if crash:
            gateway.start()
        load = Load(gateway, key)
        asyncio.run(load.run_until_killed(dice.uniform(0.02, 0.5)))
        told.update(load.complete)

        verified = bank.verified()
        assert verified.findings == (), f"after {crash + 1} kills"
    gateway.start()
    try:
        billed = {entry.id for entry in gateway.entries(1_000_000) if entry.charge_ticks > 0}
        balance = bank.balance(user_id)
        assert told <= billed, "a reply that came whole was not billed"
        assert len(told) > CRASHES, "there was hardly any load"
        assert available(gateway, key) == usd_text(balance), "something is held still"
    finally:
        gateway.kill()
