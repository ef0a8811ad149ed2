"""How one request is served: who is asked, how often, how soon, and within which bounds."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import Any

import pytest

from tests.awake import awake_s
from tests.e2e.pools import KeyedUpstream, Pool, Pools
from tests.e2e.running import Gateway, Reply, calling, config_toml, poll, running
from tests.e2e.scripted import (
    JSON,
    TEXT,
    TICKS,
    Behaviour,
    Call,
    Wire,
    fails,
    good,
    silent,
    waits,
    whole_reply,
)

pytestmark = pytest.mark.e2e

_SETTINGS = """
[attempts]
backoff_s = 0
capacity_wait_s = 0
hedge_max_cost_usd = 0
[cooling]
limited_s = 0.2
[refresh]
every_s = 0
"""

_numbers = count(1)


@pytest.fixture(scope="module")
def keyed() -> Iterator[KeyedUpstream]:
    with KeyedUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(extra=_SETTINGS)
    with running(Gateway(folder=tmp_path_factory.mktemp("attempts"), config=config)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def pools(gateway, keyed) -> Pools:
    return Pools(gateway, keyed)


def _at_once(pool: Pool, many: int, **fields: Any) -> list[Reply]:
    """Send so many requests together, each of a conversation of its own."""

    async def ask() -> list[Reply]:
        async with calling(pool.operator.gateway) as caller:
            return await asyncio.gather(
                *(
                    caller.ask(f"Hi {next(_numbers)}", model=pool.model, **fields)
                    for _ in range(many)
                )
            )

    return asyncio.run(ask())


def _gaps(pool: Pool, when: str = "began") -> list[float]:
    """Return the time between the calls of a pool, one after the other."""
    began = sorted(getattr(call, when) for seat in pool.seats for call in seat.calls)
    return [later - earlier for earlier, later in pairwise(began)]


def _awake_gaps(pool: Pool) -> list[float]:
    """Return how much of that time this machine ran."""
    return _gaps(pool, "began_awake")


class Gauge:
    """Answers after a while, and notes how many it answers at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open = 0
        self.most = 0

    async def __call__(self, call: Call, wire: Wire) -> None:
        self._open += 1
        self.most = max(self.most, self._open)
        await asyncio.sleep(self._seconds)
        self._open -= 1
        await good()(call, wire)


# -------------------------------------------------------------------------- whether and how often


def test_a_status_of_the_settings_lets_another_account_try(pools):
    pool = pools.make(2)
    wrong = fails(400, {"error": "Bad value."})
    pool.seats[0].will(wrong, wrong)
    with pools.operator.settings(attempts={"also_rotate_on": [400]}):
        assert pool.ask().status == 200
    assert pool.ask().status == 400
    assert pool.calls == [2, 1]
    assert pool.token()["fail_count"] == 0


def test_a_status_of_the_settings_keeps_others_from_trying(pools):
    pool = pools.make(2)
    pool.seats[0].will(fails(503), fails(503))
    with pools.operator.settings(attempts={"never_rotate_on": [503]}):
        reply = pool.ask()
        assert (reply.status, reply.error["code"]) == (502, "upstream_unavailable")
    assert pool.ask().status == 200
    assert pool.calls == [2, 1]


@pytest.mark.parametrize("most", [1, 2, 4])
def test_no_more_accounts_are_asked_than_the_settings_say(pools, most):
    pool = pools.make(5)
    for seat in pool.seats:
        seat.will(fails(500))
    with pools.operator.settings(attempts={"max_attempts": most}):
        reply = pool.ask()
    assert reply.headers["x-groxy-attempts"] == str(most)
    assert pool.calls == [1] * most + [0] * (5 - most)
    assert pool.operator.line(reply) == ("upstream_unavailable", 502, most, 0)


def test_an_upstream_in_trouble_is_given_a_pause_within_bounds(pools):
    gaps: list[float] = []
    with pools.operator.settings(
        attempts={"backoff_s": 0.1, "backoff_max_s": 0.1}, cooling={"down_after": 100}
    ):
        for _ in range(6):
            pool = pools.make(3)
            for seat in pool.seats:
                seat.will(fails(500))
            pool.ask()
            gaps += _awake_gaps(pool)
    assert len(gaps) == 12
    assert max(gaps) < 0.1 + 0.1, "a pause, and some time for a busy machine"
    assert max(gaps) > 0.03, "twelve lots of up to 0.1 s are not all so small"


@pytest.mark.parametrize("status", [401, 402, 429])
def test_what_one_account_lacks_another_is_asked_for_at_once(pools, status):
    pool = pools.make(2)
    pool.seats[0].will(fails(status))
    with pools.operator.settings(attempts={"backoff_s": 20, "backoff_max_s": 20}):
        assert pool.ask().status == 200
    assert _awake_gaps(pool)[0] < 1


def test_no_attempt_begins_after_the_request_has_run_out_of_time(pools):
    pool = pools.make(2)
    pool.seats[0].will(silent)
    with pools.operator.settings(attempts={"total_timeout_s": 0.5}):
        began = time.monotonic()
        reply = pool.ask()
        took_s = time.monotonic() - began
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert 0.5 <= took_s < 2
    assert pool.calls == [1, 0]
    assert pool.seats[0].calls[0].gone.wait(2)
    assert pool.operator.line(reply) == ("upstream_timeout", 504, 1, 0)


def test_every_attempt_has_its_own_time_for_the_first_event(pools):
    pool = pools.make(3)
    pool.seats[0].will(silent)
    pool.seats[1].will(waits(0.35))
    with pools.operator.settings(attempts={"first_event_timeout_s": 0.5}):
        reply = pool.ask(stream=True)
    assert (reply.text, reply.ends_well) == (TEXT, True)
    assert pool.calls == [1, 1, 0]
    assert _gaps(pool)[0] >= 0.5


# ------------------------------------------------------------------------------ waiting for room


def test_a_request_waits_for_an_account_to_become_free(pools):
    pool = pools.make(1, terms=[{"max_in_flight": 1}])
    gauge = Gauge(0.3)
    pool.seats[0].always(gauge)
    with pools.operator.settings(attempts={"capacity_wait_s": 5}):
        replies = _at_once(pool, 4)
    assert [reply.status for reply in replies] == [200] * 4
    assert [reply.headers["x-groxy-attempts"] for reply in replies] == ["1"] * 4
    assert (gauge.most, pool.calls) == (1, [4])
    # Woken by the one that ends, and not by chance later.
    assert max(_awake_gaps(pool)) < 0.3 + 0.2


def test_who_waited_long_enough_is_told_when_to_come_back(pools):
    pool = pools.make(1, terms=[{"max_in_flight": 1}])
    pool.seats[0].will(waits(1.5))
    with pools.operator.settings(attempts={"capacity_wait_s": 0.4}):
        slow = threading.Thread(target=pool.ask)
        slow.start()
        poll(lambda: pool.calls == [1], what="the first one's arrival")
        began, awake = time.monotonic(), awake_s()
        reply = pool.ask()
        took_s, awake = time.monotonic() - began, awake_s() - awake
        slow.join(10)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "1"
    assert took_s >= 0.4
    assert awake < 1.2
    assert pool.calls == [1]
    assert pool.operator.line(reply) == ("rate_limit_exceeded", 429, 0, 0)


def test_a_bound_on_requests_in_flight_is_never_exceeded(pools):
    pool = pools.make(2, terms=[{"max_in_flight": 3}, {"max_in_flight": 2}])
    gauges = [Gauge(0.1), Gauge(0.1)]
    for seat, gauge in zip(pool.seats, gauges, strict=True):
        seat.always(gauge)
    with pools.operator.settings(attempts={"capacity_wait_s": 10}):
        replies = _at_once(pool, 40, stream=True)
    assert {(reply.status, reply.text) for reply in replies} == {(200, TEXT)}
    assert [gauge.most for gauge in gauges] == [3, 2]


def test_the_bound_of_all_accounts_counts_where_one_has_none_of_its_own(pools):
    pool = pools.make(1)
    gauge = Gauge(0.1)
    pool.seats[0].always(gauge)
    with pools.operator.settings(attempts={"capacity_wait_s": 10}, routing={"max_in_flight": 2}):
        replies = _at_once(pool, 8)
    assert {reply.status for reply in replies} == {200}
    assert gauge.most == 2


# --------------------------------------------------------------------------------------- hedging


def _learn(pool: Pool) -> None:
    """Let the gateway see how long replies of a model usually take."""
    assert {reply.status for reply in _at_once(pool, 24)} == {200}
    for seat in pool.seats:
        seat.calls.clear()


_HEDGED = {"hedge_percentile": 90, "hedge_max_percent": 100}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_second_account_is_asked_when_the_first_is_unusually_slow(pools, is_stream):
    pool = pools.make(2)
    with pools.operator.settings(attempts=_HEDGED):
        _learn(pool)
        pool.seats[0].will(waits(5))
        began = time.monotonic()
        reply = pool.ask(stream=is_stream)
        took_s = time.monotonic() - began
    assert (reply.status, reply.text) == (200, TEXT)
    assert took_s < 3
    assert pool.calls == [1, 1]
    assert pool.seats[0].calls[0].gone.wait(2), "the loser is closed at the upstream"
    assert pool.operator.line(reply) == ("ok", 200, 2, TICKS)
    assert pool.operator.tries(reply) == [
        (pool.names[0], "client_disconnected", 0),
        (pool.names[1], "ok", 200),
    ]
    assert pool.operator.trail(reply)["request"]["account"]["name"] == pool.names[1]
    token = pool.token()
    assert (token["status"], token["fail_count"], token["in_flight"]) == ("active", 0, 0)


def test_the_first_may_still_win_and_the_second_is_closed(pools):
    pool = pools.make(2)
    with pools.operator.settings(attempts=_HEDGED):
        _learn(pool)
        pool.seats[0].will(waits(0.6))
        pool.seats[1].will(waits(5))
        reply = pool.ask(stream=True)
    assert (reply.text, reply.ends_well) == (TEXT, True)
    assert pool.calls == [1, 1]
    assert pool.seats[1].calls[0].gone.wait(2)
    assert pool.operator.line(reply) == ("ok", 200, 2, TICKS)
    outcomes = [outcome for _, outcome, _ in pool.operator.tries(reply)]
    assert outcomes == ["ok", "client_disconnected"]


def test_the_second_serves_when_the_slow_first_one_fails(pools):
    pool = pools.make(2)
    with pools.operator.settings(attempts=_HEDGED):
        _learn(pool)
        pool.seats[0].will(waits(0.3, fails(500)))
        pool.seats[1].will(waits(0.6))
        reply = pool.ask()
    assert (reply.status, reply.text) == (200, TEXT)
    assert pool.calls == [1, 1]
    assert pool.operator.tries(reply) == [
        (pool.names[0], "upstream_unavailable", 500),
        (pool.names[1], "ok", 200),
    ]


def test_both_fail_and_the_third_serves(pools):
    pool = pools.make(3)
    with pools.operator.settings(attempts=_HEDGED):
        _learn(pool)
        pool.seats[0].will(waits(0.3, fails(500)))
        pool.seats[1].will(waits(0.1, fails(500)))
        reply = pool.ask()
    assert (reply.status, reply.text) == (200, TEXT)
    assert pool.calls == [1, 1, 1]
    assert pool.operator.line(reply) == ("ok", 200, 3, TICKS)


def test_only_so_many_of_a_hundred_requests_are_hedged(pools):
    pool = pools.make(2)
    with pools.operator.settings(attempts={"hedge_percentile": 90, "hedge_max_percent": 0}):
        _learn(pool)
        _spend_what_is_saved(pool)
        pool.seats[0].will(waits(0.4))
        reply = pool.ask()
    assert reply.headers["x-groxy-attempts"] == "1"
    assert pool.calls == [1, 0]


def _spend_what_is_saved(pool: Pool) -> None:
    """Have requests hedged until no more may be: 10 are saved up at most."""
    for _ in range(12):
        pool.seats[0].will(waits(0.2))
        if pool.ask().headers["x-groxy-attempts"] == "1":
            break
    else:
        pytest.fail("more were hedged than can be saved up")
    for seat in pool.seats:
        seat.clear()


def test_nothing_is_hedged_that_may_cost_more_than_the_settings_say(pools):
    pool = pools.make(2)
    with pools.operator.settings(attempts=_HEDGED | {"hedge_max_cost_usd": 0.0001}):
        _learn(pool)
        pool.seats[0].will(waits(0.4))
        reply = pool.ask()
    assert reply.headers["x-groxy-attempts"] == "1", "what it costs is not known"
    assert pool.calls == [1, 0]


# ---------------------------------------------------------------------------------- conversations


def test_the_turns_of_a_conversation_stay_with_one_account_while_it_is_well(pools):
    pool = pools.make(3, are_equal=True)
    homes = [_server_of(pool, pool.ask("Hi", prompt_cache_key="a")) for _ in range(6)]
    assert len(set(homes)) == 1
    place = pool.names.index(homes[0])
    pool.seats[place].will(fails(429, b"", {"Retry-After": "600"}))
    moved = [_server_of(pool, pool.ask("Hi", prompt_cache_key="a")) for _ in range(4)]
    assert len(set(moved)) == 1
    assert moved[0] != homes[0]
    pool.operator.post(f"/tokens/{pool.ids[place]}/clear")
    reply = pool.ask("Hi", prompt_cache_key="a")
    assert _server_of(pool, reply) == moved[0], "its prompt is in that one's cache now"
    assert pool.operator.trail(reply)["route"]["home"]["name"] == moved[0]


def test_a_conversation_is_never_pinned_to_an_account_that_is_out_of_service(pools):
    pool = pools.make(2, are_equal=True)
    home = _server_of(pool, pool.ask("Hi", prompt_cache_key="b"))
    place = pool.names.index(home)
    pool.operator.post("/tokens/disabled", {"token": pool.ids[place], "disabled": True})
    reply = pool.ask("Hi", prompt_cache_key="b")
    assert reply.status == 200
    assert _server_of(pool, reply) != home


def test_conversations_do_not_stay_together_where_that_is_switched_off(pools):
    pool = pools.make(2, are_equal=True)
    with pools.operator.settings(routing={"affinity": False, "strategy": "random"}):
        for _ in range(40):
            pool.ask("Hi", prompt_cache_key="c")
    assert min(pool.calls) > 0


def _server_of(pool: Pool, reply: Reply) -> str:
    name: str = pool.operator.trail(reply)["request"]["account"]["name"]
    return name


# -------------------------------------------------------------------------- order, shares, bounds


def test_a_higher_priority_goes_first_and_a_busy_one_gives_way(pools):
    terms = [{"priority": 1}, {"priority": 5, "max_in_flight": 1}, {"priority": -3}]
    pool = pools.make(3, terms=terms)
    for _ in range(3):
        pool.ask()
    assert pool.calls == [0, 3, 0]
    pool.seats[1].will(waits(0.6))
    slow = threading.Thread(target=pool.ask)
    slow.start()
    poll(lambda: pool.calls[1] == 4, what="the slow one's arrival")
    pool.ask()
    slow.join(10)
    assert pool.calls == [1, 4, 0]


@pytest.mark.parametrize("strategy", ["random", "quota"])
def test_shares_follow_weights(pools, strategy):
    pool = pools.make(2, terms=[{"weight": 1}, {"weight": 4}], are_equal=True)
    for seat in pool.seats:
        seat.always(waits(0.05))
    with pools.operator.settings(routing={"strategy": strategy}):
        for _ in range(10):
            _at_once(pool, 24)
    light, heavy = pool.calls
    assert light + heavy == 240
    # By lot: 192 of 240, six standard deviations are 37. By load: nearly as exactly as can be.
    assert 150 < heavy < 234


@pytest.mark.parametrize("strategy", ["random", "quota"])
def test_equal_accounts_share_the_work(pools, strategy):
    pool = pools.make(4, are_equal=True)
    for seat in pool.seats:
        seat.always(waits(0.05))
    with pools.operator.settings(routing={"strategy": strategy}):
        for _ in range(5):
            _at_once(pool, 40)
    assert sum(pool.calls) == 200
    assert min(pool.calls) > 20


def _wait_for_a_whole_minute() -> None:
    """See to it that the next seconds are in one minute, which bounds are counted by."""
    left_s = 60 - time.time() % 60
    if left_s < 5:
        time.sleep(left_s)


def test_requests_a_minute_are_never_exceeded(pools):
    pool = pools.make(2, terms=[{"rpm": 5}, {"rpm": 3}])
    _wait_for_a_whole_minute()
    replies = _at_once(pool, 20)
    assert Counter(reply.status for reply in replies) == {200: 8, 429: 12}
    assert pool.calls == [5, 3]
    refused = pool.ask()
    assert (refused.status, "retry-after" in refused.headers) == (429, True)
    passed = pool.operator.route(pool.model)["accounts"]
    words = {one["id"]: [why["code"] for why in one["why_not"]] for one in passed}
    assert [words[account] for account in pool.ids] == [["rpm"], ["rpm"]]


def test_tokens_a_minute_end_the_work_of_an_account(pools):
    pool = pools.make(2, terms=[{"tpm": 100}])
    _wait_for_a_whole_minute()
    for _ in range(6):
        assert pool.ask().status == 200
    # Each is billed 27 tokens: after the fourth there are 108.
    assert pool.calls == [4, 2]


def test_a_quota_is_kept_and_is_full_again_after_its_window(pools):
    pool = pools.make(2)
    pool.operator.patch(f"/tokens/{pool.ids[0]}", {"quotas": {"official": "3/2s"}})
    replies = _at_once(pool, 8)
    assert {reply.status for reply in replies} == {200}
    assert pool.calls == [3, 5]
    window = pool.token()["quota"]["official"]
    assert (window["remaining"], window["total"], window["window_seconds"]) == (0, 3, 2)
    pool.ask_until(lambda: pool.calls[0] > 3, what="a new window")


@pytest.mark.parametrize("status", [200, 429])
def test_what_an_upstream_says_of_its_limits_is_obeyed(pools, status):
    pool = pools.make(2)
    limits = {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    }
    pool.seats[0].will(_with_headers(status, limits))
    assert pool.ask().status == 200
    window = pool.token()["quota"]["official"]
    assert (window["remaining"], window["total"], window["source"]) == (0, 50, "real")
    before = pool.calls
    pool.ask()
    assert pool.calls == [before[0], before[1] + 1]
    pool.ask_until(lambda: pool.calls[0] > 1, what="the end of the limit")


def _with_headers(status: int, headers: dict[str, str]) -> Behaviour:
    async def behave(_call: Call, wire: Wire) -> None:
        body = whole_reply() if status == 200 else {"error": "Too many requests"}
        await wire.whole(status, json.dumps(body).encode(), {**JSON, **headers})

    return behave


def test_an_account_serves_no_model_that_its_operator_does_not_allow(pools):
    pool = pools.make(2, terms=[{"models": ["another-*"]}])
    for _ in range(3):
        assert pool.ask().status == 200
    assert pool.calls == [0, 3]
    pool.operator.patch(f"/tokens/{pool.ids[0]}", {"models": [f"{pool.model[:-1]}*"]})
    pool.ask()
    assert pool.calls == [1, 3]


def test_accounts_are_found_by_their_tags(pools):
    pool = pools.make(3, terms=[{"tags": ["eu", "night"]}, {"tags": ["us"]}])
    pool.operator.patch(f"/tokens/{pool.ids[2]}", {"tags": ["night"]})
    assert _tagged(pool, "night") == {pool.ids[0], pool.ids[2]}
    assert _tagged(pool, "us") == {pool.ids[1]}
    assert _tagged(pool, "n") == set()


def _tagged(pool: Pool, tag: str) -> set[str]:
    listed: Sequence[Any] = pool.operator.get(f"/tokens?tag={tag}")["tokens"]
    return {one["id"] for one in listed}
