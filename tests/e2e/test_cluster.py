"""Several gateways with one store and one state: what one learns is in force in all within 1 s.

Each test also runs with a single gateway on SQLite, which has to behave no differently. Then Redis
and PostgreSQL go away in mid-traffic.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from groxy.settings.sections import DEFAULT_STORE_URL
from groxy.store.database import Database
from groxy.store.keys import KeyRole, create_key, revoke_key
from groxy.store.secrets import InstallationSecret
from tests.awake import awake_s
from tests.e2e.pools import NO_CREDITS, KeyedUpstream, Operator, Pool, Pools, key_is_good
from tests.e2e.running import Gateway, Reply, config_toml, groxy, poll
from tests.e2e.scripted import TICKS, fails, good, waits
from tests.e2e.traffic import Traffic, echoes
from tests.servers import PostgresServer, RedisServer, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

_IN_FORCE_S = 1.0
_GRACE_S = 4.0
_SECRET = "5a" * 32
_SETTINGS = f"""
secret_key = "{_SECRET}"
[store]
url = "STORE"
grace_s = {_GRACE_S}
[state]
url = "STATE"
[refresh]
every_s = 0
[attempts]
backoff_s = 0.01
"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Gateways that share all they know."""

    gateways: Sequence[Gateway]
    upstream: KeyedUpstream
    store_url: str

    @property
    def first(self) -> Gateway:
        return self.gateways[0]

    @property
    def last(self) -> Gateway:
        return self.gateways[-1]

    @property
    def far(self) -> Operator:
        """The operator of a gateway that learns from others only, where there is one."""
        return Operator(self.last)

    def make(self, seats: int = 2, **options: Any) -> Pool:
        """Return a pool that was added at the first gateway and is known in all."""
        pool = Pools(self.first, self.upstream).make(seats, **options)
        self.spread(lambda one: all(_knows(one, account) for account in pool.ids), within_s=5.0)
        return pool

    def spread(self, is_true: Callable[[Operator], Any], *, within_s: float = 20.0) -> float:
        """Return how long it takes until something is true in every gateway."""
        began = awake_s()
        took_s = 0.0
        left = [Operator(one) for one in self.gateways]
        while left:
            left = [one for one in left if not is_true(one)]
            took_s = awake_s() - began
            assert took_s < within_s, f"{len(left)} do not know it after {took_s:.1f} s"
            if left:
                time.sleep(0.01)
        return took_s

    def in_force(self, is_true: Callable[[Operator], Any]) -> None:
        """Check that something becomes true in every gateway within a second."""
        took_s = self.spread(is_true)
        assert took_s < _IN_FORCE_S

    def in_store(self, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        """Do something in the store, as a command of its own would."""

        async def run() -> Any:
            database = await Database.open(self.store_url, self.first.data_dir)
            try:
                return await work(database)
            finally:
                await database.close()

        with ThreadPoolExecutor(1) as threads:
            return threads.submit(asyncio.run, run()).result(30)

    def new_key(self) -> tuple[str, str]:
        """Make a caller's key; return it and its id once all gateways know it."""
        secret = InstallationSecret.of(self.first.data_dir, bytes.fromhex(_SECRET))
        key, stored = self.in_store(
            lambda database: create_key(database, secret, name="e2e", role=KeyRole.CALLER)
        )
        self.in_force(lambda one: _status_for(one.gateway, key) == 200)
        return key, stored.id


def _knows(operator: Operator, account: str) -> bool:
    reply = operator.ask("GET", f"/tokens/{account}")
    return reply.status == 200 and reply.json["listed_models"] is not None


def _status_for(gateway: Gateway, key: str) -> int:
    return gateway.get("/v1/models", {"x-api-key": key}).status


def _ask_as(gateway: Gateway, key: str, model: str) -> Reply:
    own = Gateway(folder=gateway.folder, key=key, port=gateway.port)
    return own.ask(model=model)


@contextmanager
def _running_all(gateways: Sequence[Gateway]) -> Iterator[None]:
    try:
        for gateway in gateways:
            gateway.spawn()
        for gateway in gateways:
            gateway.wait_until_ready()
            Operator(gateway).get("/status")  # its admin API is loaded when it is first asked for
        yield
    finally:
        for gateway in gateways:
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.kill()


def _gateways(folder: Path, number: int, store_url: str, state_url: str) -> list[Gateway]:
    settings = _SETTINGS.replace("STORE", store_url).replace("STATE", state_url)
    found = []
    for place in range(number):
        own = folder / f"gateway-{place}"
        own.mkdir()
        found.append(Gateway(folder=own, config=config_toml(extra=settings), port=free_port()))
    return found


@pytest.fixture(scope="module")
def keyed() -> Iterator[KeyedUpstream]:
    with KeyedUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def alone(keyed, tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("alone")
    gateways = _gateways(folder, 1, DEFAULT_STORE_URL, "memory://")
    with _running_all(gateways):
        yield Cluster(gateways=gateways, upstream=keyed, store_url=DEFAULT_STORE_URL)


@pytest.fixture(scope="module")
def three(
    keyed, postgres: PostgresServer, redis: RedisServer, tmp_path_factory
) -> Iterator[Cluster]:
    redis.start()
    redis.ask("FLUSHALL")
    url = postgres.new_database()
    gateways = _gateways(tmp_path_factory.mktemp("three"), 3, url, redis.url)
    with _running_all(gateways):
        yield Cluster(gateways=gateways, upstream=keyed, store_url=url)


@pytest.fixture(
    params=[
        "alone",
        pytest.param("three", marks=[pytest.mark.postgres, pytest.mark.redis]),
    ]
)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


# --------------------------------------------------------------------------------- what is learned


def test_a_rate_limit_that_one_meets_is_kept_by_all(cluster):
    pool = cluster.make(1)
    pool.seats[0].will(fails(429, b"", {"Retry-After": "600"}))
    assert pool.ask().status == 429
    cluster.in_force(lambda one: one.token(pool.ids[0])["cooling"])
    assert cluster.last.ask(model=pool.model).status == 429
    assert pool.calls == [1]


def test_an_account_that_is_down_for_one_goes_last_for_all(cluster):
    pool = cluster.make(2)
    pool.seats[0].will(*[fails(500)] * 3)
    for _ in range(3):
        assert pool.ask().status == 200
    cluster.in_force(lambda one: one.token(pool.ids[0])["status"] == "cooling")
    assert cluster.last.ask(model=pool.model).headers["x-groxy-attempts"] == "1"
    assert pool.calls == [3, 4]


def test_credit_that_is_gone_is_gone_for_all(cluster):
    pool = cluster.make(1)
    pool.seats[0].will(fails(403, NO_CREDITS))
    pool.ask()
    cluster.in_force(lambda one: one.token(pool.ids[0])["reason"] == "upstream_quota_exhausted")
    assert cluster.last.ask(model=pool.model).status == 503
    assert pool.calls == [1]


def test_a_rest_that_the_operator_ends_anywhere_ends_for_all(cluster):
    pool = cluster.make(2)
    pool.seats[0].will(fails(429, b"", {"Retry-After": "600"}))
    pool.seats[1].will(fails(403, NO_CREDITS))
    pool.ask()
    for account in pool.ids:
        cluster.in_force(lambda one, account=account: one.token(account)["cooling"])
    cluster.spread(lambda one: one.token(pool.ids[1])["since"])  # it is in the store
    for account in pool.ids:
        cluster.far.post(f"/tokens/{account}/clear")
    for account in pool.ids:
        cluster.in_force(lambda one, account=account: not one.token(account)["cooling"])
    assert pool.ask().status == 200


def test_an_account_that_expired_for_one_is_expired_for_all(cluster):
    pool = cluster.make(1)
    pool.key(0, fails(401))
    pool.seats[0].will(fails(401))
    pool.ask()
    pool.settled(0, "expired", "credential_rejected")
    cluster.in_force(lambda one: one.token(pool.ids[0])["status"] == "expired")
    pool.key(0, key_is_good())
    cluster.far.post("/tokens/disabled", {"token": pool.ids[0], "disabled": False})
    cluster.in_force(lambda one: one.token(pool.ids[0])["status"] == "active")


# -------------------------------------------------------------------------- what the operator does


def test_a_key_that_is_revoked_opens_nothing_any_more(cluster):
    key, key_id = cluster.new_key()
    cluster.in_store(lambda database: revoke_key(database, key_id))
    cluster.in_force(lambda one: _status_for(one.gateway, key) == 401)


def test_an_account_is_added_disabled_enabled_edited_and_deleted_everywhere(cluster):
    pool = cluster.make(1)
    (account,) = pool.ids
    cluster.far.post("/tokens/disabled", {"token": account, "disabled": True})
    cluster.in_force(lambda one: one.token(account)["status"] == "disabled")
    assert cluster.first.ask(model=pool.model).status == 503
    cluster.far.post("/tokens/disabled", {"token": account, "disabled": False})
    cluster.in_force(lambda one: one.token(account)["status"] == "active")
    assert cluster.first.ask(model=pool.model).status == 200
    cluster.far.patch(f"/tokens/{account}", {"weight": 7, "tags": ["eu"]})
    cluster.in_force(lambda one: one.token(account)["weight"] == 7)
    assert Operator(cluster.first).token(account)["tags"] == ["eu"]
    cluster.far.delete("/tokens", [account])
    cluster.in_force(lambda one: one.ask("GET", f"/tokens/{account}").status == 404)
    assert cluster.first.ask(model=pool.model).json["error"]["code"] == "model_not_found"


def test_a_new_account_serves_everywhere_within_a_second_of_its_list(cluster):
    began = awake_s()
    pool = Pools(cluster.last, cluster.upstream).make(1)
    cluster.spread(lambda one: one.gateway.ask(model=pool.model).status == 200)
    assert awake_s() - began < 3 * _IN_FORCE_S, "added, asked for its list, and told"


def test_a_setting_that_is_changed_anywhere_is_in_force_everywhere(cluster):
    pool = cluster.make(2)
    with cluster.far.settings(attempts={"max_attempts": 1}):
        cluster.in_force(lambda one: one.get("/config")["attempts"]["max_attempts"] == 1)
        pool.seats[0].will(fails(500))
        assert pool.ask().status == 502
        assert pool.calls == [1, 0]
    cluster.in_force(lambda one: one.get("/config")["attempts"]["max_attempts"] == 3)


# ---------------------------------------------------------------------------------- what is shared


def test_requests_in_flight_are_counted_over_all(cluster):
    pool = cluster.make(1, terms=[{"max_in_flight": 1}])
    pool.seats[0].will(waits(1.2))
    slow = threading.Thread(target=cluster.first.ask, kwargs={"model": pool.model})
    slow.start()
    poll(lambda: pool.calls == [1], what="the first request's arrival")
    cluster.in_force(lambda one: one.token(pool.ids[0])["in_flight"] == 1)
    reply = cluster.last.ask(model=pool.model)  # waits for the first one to end
    slow.join(10)
    assert reply.status == 200
    first, second = pool.seats[0].calls
    assert second.began >= first.began + 1.2, "two at once, where one is the most"


def test_a_request_beyond_the_bound_is_refused_where_waiting_is_switched_off(cluster):
    pool = cluster.make(1, terms=[{"max_in_flight": 1}])
    with cluster.far.settings(attempts={"capacity_wait_s": 0}):
        cluster.in_force(lambda one: one.get("/config")["attempts"]["capacity_wait_s"] == 0)
        pool.seats[0].will(waits(1.5))
        slow = threading.Thread(target=cluster.first.ask, kwargs={"model": pool.model})
        slow.start()
        poll(lambda: pool.calls == [1], what="the first request's arrival")
        cluster.in_force(lambda one: one.token(pool.ids[0])["in_flight"] == 1)
        reply = cluster.last.ask(model=pool.model)
        slow.join(10)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "1"
    assert pool.calls == [1]


def test_a_conversation_stays_with_its_account_wherever_it_goes_on(cluster):
    pool = cluster.make(4, are_equal=True)
    talks = [f"talk-{number}" for number in range(6)]
    first = [cluster.first.ask(model=pool.model, prompt_cache_key=talk) for talk in talks]
    homes = [Operator(cluster.first).trail(one)["request"]["account"]["id"] for one in first]
    time.sleep(_IN_FORCE_S)
    for talk, home in zip(talks, homes, strict=True):
        reply = cluster.last.ask("And then?", model=pool.model, prompt_cache_key=talk)
        trail = cluster.far.trail(reply)
        assert trail["route"]["home"]["id"] == home
        assert trail["request"]["account"]["id"] == home


def test_a_job_that_one_runs_is_followed_and_cancelled_in_another(cluster):
    count = 12
    pool = cluster.make(count)
    for place in range(count):
        pool.key(place, waits(0.25, key_is_good()))
    path = "/batch/refresh?async=true&concurrency=1"
    task = Operator(cluster.first).post(path, {"tokens": list(pool.ids)})["task_id"]
    streamed: list[Reply] = []
    following = threading.Thread(
        target=lambda: streamed.append(cluster.far.ask("GET", f"/batch/{task}/stream"))
    )
    following.start()
    poll(lambda: cluster.far.get(f"/batch/{task}")["processed"] >= 2, what="progress")
    cluster.far.post(f"/batch/{task}/cancel")
    cluster.in_force(lambda one: one.get(f"/batch/{task}")["status"] == "cancelled")
    following.join(10)
    events = streamed[0].events
    assert [events[0]["type"], events[-1]["type"]] == ["snapshot", "cancelled"]
    assert events[-1]["total"] == count
    assert 2 <= events[-1]["processed"] < count
    numbers = [event["processed"] for event in events if event["type"] == "progress"]
    assert numbers == sorted(set(numbers))


def test_one_gateway_sees_the_trail_of_what_another_served(cluster):
    pool = cluster.make(1)
    reply = pool.ask()
    assert cluster.far.line(reply) == ("ok", 200, 1, TICKS)


def test_several_workers_without_a_shared_state_are_refused(tmp_path):
    done = groxy(tmp_path, "serve", environ={"GROXY_SERVER__WORKERS": "2"})
    assert done.returncode != 0
    assert "server.workers is 2, but state.url is memory://" in done.stderr
    assert 'set state.url = "redis://host:6379/0", or server.workers = 1' in done.stderr


# ------------------------------------------------------------------------------- what goes away


def _check_books(cluster: Cluster, pool: Pool, traffic: Traffic) -> None:
    """Check that every answer that was given is in the books, once and with its price."""
    given = {one.reply.id for one in traffic.answers if one.is_right and one.reply}
    owed = _owed(cluster, pool)
    assert given <= owed.keys(), "some answers were given for nothing"
    assert all(owed[request_id] == TICKS for request_id in given)


def _owed(cluster: Cluster, pool: Pool) -> dict[str, int]:
    """Return what the books say is owed for each request for a pool's model that went well."""
    found: dict[str, int] = {}
    before = ""
    while True:
        page = cluster.far.get(f"/requests?model={pool.model}&outcome=ok&limit=500&before={before}")
        for line in page["requests"]:
            assert line["id"] not in found, "a request is in the books twice"
            found[line["id"]] = line["cost_ticks"]
        if not page["next"]:
            return found
        before = page["next"]


@pytest.mark.redis
@pytest.mark.postgres
def test_redis_may_go_and_come_back_in_mid_traffic(three: Cluster, redis: RedisServer):
    pool = three.make(2)
    for seat in pool.seats:
        seat.always(echoes())
    with Traffic(gateways=three.gateways, models=[pool.model]) as traffic:
        poll(lambda: len(traffic.answers) > 20, what="traffic")
        redis.stop()
        time.sleep(1.5)
        while_away = time.monotonic()
        poll(lambda: len(traffic.since(while_away)) > 20, what="answers without Redis")
        assert three.last.get("/ready").status == 503
        redis.start()
        poll(
            lambda: all(one.get("/ready").status == 200 for one in three.gateways),
            what="being ready",
        )
    assert traffic.faults == []
    assert traffic.statuses.keys() == {200}
    _check_books(three, pool, traffic)
    pool.seats[0].always(good()).will(fails(429, b"", {"Retry-After": "600"}))
    pool.ask()
    three.in_force(lambda one: one.token(pool.ids[0])["cooling"])


@pytest.mark.redis
@pytest.mark.postgres
def test_postgresql_may_go_and_come_back_in_mid_traffic(three: Cluster, postgres: PostgresServer):
    pool = three.make(2)
    key, _ = three.new_key()
    for seat in pool.seats:
        seat.always(echoes())
    with Traffic(gateways=three.gateways, models=[pool.model]) as traffic:
        poll(lambda: len(traffic.answers) > 20, what="traffic")
        gone = time.monotonic()
        postgres.stop()
        try:
            _check_grace(three, traffic, gone, key, pool.model)
            _check_refusal(three, traffic, key, pool.model)
        finally:
            postgres.start()
        back = time.monotonic()
        poll(
            lambda: all(_ask_as(one, key, pool.model).status == 200 for one in three.gateways),
            what="serving",
        )
        assert time.monotonic() - back < 5
        well = time.monotonic()
        poll(lambda: len(traffic.since(well)) > 20, what="traffic")
    assert traffic.faults == []
    # 1 is a stream that had begun when it could no longer be entered: it ends with an error.
    assert {200, 503} <= traffic.statuses.keys() <= {200, 503, 1}
    assert {one.reply.status for one in traffic.since(well) if one.reply} == {200}
    poll(lambda: not _spools(three), what="the spool's end")
    _check_books(three, pool, traffic)


def _check_grace(cluster: Cluster, traffic: Traffic, gone: float, key: str, model: str) -> None:
    """For a while everything goes on, and keys of the store are good."""
    while time.monotonic() < gone + _GRACE_S / 2:
        for gateway in cluster.gateways:
            assert _ask_as(gateway, key, model).status == 200
        time.sleep(0.1)
    assert {one.reply.status for one in traffic.since(gone) if one.reply} == {200}
    assert _spools(cluster)
    assert cluster.first.get("/ready").status == 503
    assert cluster.first.get("/health").status == 200
    reply = cluster.far.ask("GET", "/requests")
    assert (reply.status, "retry-after" in reply.headers) == (503, True)


def _check_refusal(cluster: Cluster, traffic: Traffic, key: str, model: str) -> None:
    """Then nothing is served, and nobody is told that his key is wrong."""
    who = [(one, name) for one in cluster.gateways for name in (key, one.key)]
    poll(
        lambda: all(_ask_as(one, name, model).status == 503 for one, name in who),
        what="refusing",
    )
    refused = time.monotonic()
    poll(lambda: len(traffic.since(refused)) > 20, what="traffic")
    assert {one.reply.status for one in traffic.since(refused) if one.reply} == {503}
    for name in (key, "sk-nobody-knows-me"):
        reply = _ask_as(cluster.last, name, model)
        assert (reply.status, reply.error["code"]) == (503, "store_unavailable")
        assert int(reply.headers["retry-after"]) >= 1


def _spools(cluster: Cluster) -> list[Path]:
    return [path for one in cluster.gateways for path in one.data_dir.glob("spool-*.jsonl")]
