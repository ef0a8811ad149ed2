"""Databases and shared state that go away while the gateway runs, and come back."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from groxy.core.errors import ErrorKind
from groxy.state._base import CoolDown
from groxy.state.redis import RedisState
from groxy.store.database import Database
from groxy.store.entries import RequestEntry, last_requests
from tests.awake import awake_s
from tests.e2e.pools import Operator, ms_from_now
from tests.e2e.running import (
    Gateway,
    Reply,
    account_toml,
    chat_body,
    config_toml,
    poll,
    running,
)
from tests.e2e.scripted import TEXT, TICKS, fails
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.e2e

_GRACE_S = 2.0


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
def briefly_without(seat, url, tmp_path) -> Iterator[Gateway]:
    """A gateway that does without its database for a second."""
    store = f'[store]\nurl = "{url}"\ngrace_s = {_GRACE_S}'
    config = config_toml(account_toml("a", seat), extra=store)
    with running(Gateway(folder=tmp_path, config=config)) as gateway:
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
    began = awake_s()
    poll(lambda: on_postgres.get("/v1/models", {"x-api-key": key}).status == 200, what="the key")
    assert awake_s() - began <= 1.0


@pytest.mark.postgres
def test_a_name_that_postgresql_cannot_hold_harms_nobody_else(on_postgres, url):
    odd = on_postgres.ask(model="a\x00b")
    assert (odd.status, odd.error["code"]) == (400, "model_not_found")
    good = on_postgres.ask()
    assert {odd.id, good.id} <= {row.id for row in _rows(url, on_postgres)}


@pytest.mark.postgres
def test_requests_go_on_while_postgresql_is_down_and_are_in_the_books_when_it_is_back(
    on_postgres, postgres, url
):
    key = on_postgres.command("key", "create")
    poll(lambda: _ask_with(on_postgres, key).status == 200, what="the key")
    before = on_postgres.ask()
    postgres.stop()
    try:
        during = [on_postgres.ask(stream=number % 2 == 0) for number in range(4)]
        during.append(_ask_with(on_postgres, key))
        assert [(reply.status, reply.text) for reply in during] == [(200, TEXT)] * 5
        assert all(reply.ends_well for reply in during[:4:2])
        assert on_postgres.get("/ready").status == 503
        assert on_postgres.get("/health").status == 200
        assert _spooled(on_postgres), "nothing is there but the spool"
    finally:
        postgres.start()
    poll(lambda: on_postgres.get("/ready").status == 200, what="being ready again")
    after = on_postgres.ask()
    poll(lambda: not _spooled(on_postgres), what="entering what was spooled")
    rows = {row.id: row for row in _rows(url, on_postgres)}
    for reply in (before, *during, after):
        row = rows[reply.id]
        assert (row.outcome, row.status, row.cost_ticks) == ("ok", 200, TICKS)
    assert rows[during[4].id].key_id != rows[before.id].key_id


@pytest.mark.postgres
def test_beyond_the_grace_nothing_is_served_until_postgresql_is_back(
    briefly_without, postgres, url, seat
):
    gateway = briefly_without
    key = gateway.command("key", "create")
    poll(lambda: _ask_with(gateway, key).status == 200, what="the key")
    postgres.stop()
    try:
        replies = [gateway.ask()]
        assert replies[0].status == 200
        poll(lambda: _note(replies, gateway.ask()).status != 200, what="the end of the grace")
        known, unknown = _ask_with(gateway, key), _ask_with(gateway, "sk-nobody-knows")
        calls = len(seat.calls)
        refused = [replies.pop(), known, unknown, gateway.ask(), gateway.ask(stream=True)]
        for reply in refused:
            assert (reply.status, reply.error["code"]) == (503, ErrorKind.STORE_DOWN.value)
            assert int(reply.headers["retry-after"]) >= 1
            assert b"scripted upstream" not in reply.body
        assert len(seat.calls) == calls, "what nobody would pay for is not asked"
        assert {reply.status for reply in replies} == {200}
    finally:
        postgres.start()
    after = poll(lambda: _good(gateway), what="serving again")
    assert poll(lambda: _ask_with(gateway, key).status == 200, what="knowing the key")
    poll(lambda: not _spooled(gateway), what="entering what was spooled")
    rows = {row.id: row for row in _rows(url, gateway)}
    assert {rows[reply.id].outcome for reply in (*replies, after)} == {"ok"}
    assert [rows[reply.id].cost_ticks for reply in replies] == [TICKS] * len(replies)
    assert not {reply.id for reply in refused} & set(rows)


def _ask_with(gateway: Gateway, key: str) -> Reply:
    """Send a chat request with another key than the gateway's own."""
    body = json.dumps(chat_body()).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return gateway.request("POST", "/v1/chat/completions", body, headers)


def _note(replies: list[Reply], reply: Reply) -> Reply:
    replies.append(reply)
    return reply


def _spooled(gateway: Gateway) -> int:
    """Return how many bytes of entries wait for the database."""
    return sum(path.stat().st_size for path in gateway.data_dir.glob("spool-*.jsonl"))


def _good(gateway: Gateway) -> Reply | None:
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
    operator = Operator(on_redis)
    redis.stop()
    seat.will(fails(429, b"", {"Retry-After": "600"}))
    assert on_redis.ask().status == 429
    time.sleep(1.2)  # two rounds in which the state could not be reached
    _check_rest(operator)
    calls = len(seat.calls)
    assert on_redis.ask().status == 429
    assert len(seat.calls) == calls, "a model that rests is not asked for"
    assert on_redis.ask(model="grok-4").status == 200, "another model of the account does not rest"
    redis.start()
    told = poll(lambda: asyncio.run(_rests_told(redis.url)), what="telling the state")
    assert list(told) == ["a\ngrok-4.3"]
    assert told["a\ngrok-4.3"].reason == ErrorKind.UPSTREAM_LIMITED.value
    _check_rest(operator)


def _check_rest(operator: Operator) -> None:
    """Check that one model of the account rests for ten minutes, and not the account."""
    token = operator.token("a")
    assert token["status"] == "active"
    (rest,) = token["cooling"]["models"]
    assert (rest["model"], rest["reason"]) == ("grok-4.3", ErrorKind.UPSTREAM_LIMITED.value)
    assert 580 < ms_from_now(rest["until"]) <= 600


async def _rests_told(url: str) -> dict[str, CoolDown]:
    """Return the rests that the shared state knows, by account and model."""
    state = RedisState.connect(url)
    try:
        return await state.cooling()
    finally:
        await state.close()
