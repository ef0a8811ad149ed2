"""Databases and shared state that go away while the gateway runs, and come back."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from groxy.core.errors import ErrorKind
from groxy.store.database import Database
from groxy.store.entries import RequestEntry, last_requests
from tests.e2e.running import Gateway, account_toml, config_toml, poll, running
from tests.e2e.scripted import fails
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture(scope="module")
def seat(upstream):
    return upstream.seat("outage")


@pytest.fixture(scope="module")
def on_postgres(seat, url, tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(account_toml("a", seat), extra=f'[store]\nurl = "{url}"')
    with running(Gateway(folder=tmp_path_factory.mktemp("outage"), config=config)) as gateway:
        yield gateway


@pytest.fixture
def on_redis(seat, redis, tmp_path) -> Iterator[Gateway]:
    config = config_toml(account_toml("a", seat), extra=f'[state]\nurl = "{redis.url}"')
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
        yield gateway
    redis.stop()
    redis.start()


def _rows(url: str, gateway: Gateway) -> list[RequestEntry]:
    async def read() -> list[RequestEntry]:
        database = await Database.open(url, gateway.data_dir)
        try:
            return await last_requests(database, 1000)
        finally:
            await database.close()

    return asyncio.run(read())


@pytest.mark.postgres
def test_the_books_can_be_kept_in_postgresql(on_postgres, url):
    ids = {on_postgres.ask(stream=number % 2 == 0).id for number in range(6)}
    rows = [row for row in _rows(url, on_postgres) if row.id in ids]
    assert len(rows) == 6
    assert {row.outcome for row in rows} == {"ok"}


@pytest.mark.postgres
def test_keys_made_while_it_runs_on_postgresql_work_within_a_second(on_postgres):
    key = on_postgres.command("key", "create")
    began = time.monotonic()
    poll(lambda: on_postgres.get("/v1/models", {"x-api-key": key}).status == 200, what="the key")
    assert time.monotonic() - began <= 1.0


@pytest.mark.postgres
def test_a_name_that_postgresql_cannot_hold_harms_nobody_else(on_postgres, url):
    odd = on_postgres.ask(model="a\x00b")
    assert (odd.status, odd.error["code"]) == (400, "model_not_found")
    good = on_postgres.ask()
    assert {odd.id, good.id} <= {row.id for row in _rows(url, on_postgres)}


@pytest.mark.postgres
def test_replies_are_withheld_while_postgresql_is_down_and_given_when_it_is_back(
    on_postgres, postgres, url
):
    before = on_postgres.ask()
    postgres.stop()
    try:
        reply = on_postgres.ask()
        assert (reply.status, reply.error["code"]) == (503, ErrorKind.STORE_DOWN.value)
        assert b"scripted upstream" not in reply.body
        assert on_postgres.get("/ready").status == 503
        assert on_postgres.get("/health").status == 200
    finally:
        postgres.start()
    after = poll(lambda: _good(on_postgres), what="serving again")
    ids = {row.id for row in _rows(url, on_postgres)}
    assert {before.id, after.id} <= ids
    assert reply.id not in ids


def _good(gateway: Gateway):
    reply = gateway.ask()
    return reply if reply.status == 200 else None


@pytest.mark.redis
def test_without_its_shared_state_it_serves_on_but_says_that_it_is_not_ready(
    on_redis: Gateway, redis: RedisServer
):
    assert on_redis.get("/ready").status == 200
    redis.stop()
    reply = on_redis.get("/ready")
    assert (reply.status, reply.json["checks"]["state"] != "ok") == (503, True)
    assert on_redis.ask().status == 200
    redis.start()
    poll(lambda: on_redis.get("/ready").status == 200, what="being ready again")


@pytest.mark.redis
def test_a_rest_that_begins_while_the_state_is_away_is_kept_and_told_later(
    on_redis: Gateway, redis: RedisServer, seat
):
    redis.stop()
    seat.will(fails(429, b"", {"Retry-After": "600"}))
    assert on_redis.ask().status == 429
    time.sleep(1.2)  # two rounds in which the state could not be reached
    assert on_redis.account_states() == {"cooling": 1}
    redis.start()
    poll(lambda: b"cooling" in redis.ask("KEYS", "groxy:*"), what="telling the state")
    assert on_redis.account_states() == {"cooling": 1}
