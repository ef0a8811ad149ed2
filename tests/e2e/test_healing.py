"""The way back: accounts that failed serve again, by themselves or because the operator says so."""

import asyncio
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.pools import (
    NO_CREDITS,
    WRONG_KEY,
    KeyedUpstream,
    Pool,
    Pools,
    key_is_blocked,
    key_is_good,
    key_is_wrong,
    ms_from_now,
)
from tests.e2e.running import Gateway, calling, config_toml, poll, running
from tests.e2e.scripted import fails, good, waits

pytestmark = pytest.mark.e2e

_DOWN_S, _LIMITED_S, _BILLING_S = 0.6, 0.2, 0.8
_SETTINGS = f"""
[attempts]
backoff_s = 0
capacity_wait_s = 0
[cooling]
down_s = {_DOWN_S}
limited_s = {_LIMITED_S}
billing_s = {_BILLING_S}
[refresh]
every_s = 0
"""
_SHORTEST_S = 10
"""Between refreshes, by the settings."""
_DOWN = ("cooling", "upstream_unavailable")
_UNPAID = ("cooling", "upstream_quota_exhausted")
_ACTIVE = ("active", "")


@pytest.fixture(scope="module")
def keyed() -> Iterator[KeyedUpstream]:
    with KeyedUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    config = config_toml(extra=_SETTINGS)
    with running(Gateway(folder=tmp_path_factory.mktemp("healing"), config=config)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def pools(gateway, keyed) -> Pools:
    return Pools(gateway, keyed)


@pytest.fixture(scope="module", autouse=True)
def aged(pools: Pools) -> Pool:
    """Accounts that are old enough for another refresh when the last tests come to them.

    Of five, three are expired: for a wrong key, for a blocked one, and for one that is wrong still.
    """
    pool = pools.make(5)
    for place, says in enumerate((key_is_wrong, key_is_blocked, key_is_wrong)):
        pool.key(place, says())
        pool.seats[place].will(fails(400, WRONG_KEY))
    assert pool.ask().status == 502
    for place in range(3):
        pool.settled(place, "expired", "credential_rejected")
    return pool


def _rest_ms(pool: Pool, place: int = 0) -> int:
    """Return how long the rest of an account is, from its last failure on."""
    token = pool.token(place)
    models = token["cooling"]["models"]
    until = models[0]["until"] if models else token["cooling"]["until"]
    return int(until - token["last_failed_at"])


def _is_active(pool: Pool, place: int) -> bool:
    return pool.stands(place) == _ACTIVE


def _take_down(pool: Pool, place: int = 0) -> None:
    """Let an account fail as often as it takes for a rest."""
    pool.seats[place].will(fails(500), fails(500), fails(500))
    for _ in range(3):
        pool.ask()
    assert pool.stands(place) == _DOWN


def _is_asked_again(pool: Pool, place: int = 0) -> None:
    """Ask until an account is asked once more."""
    before = pool.calls[place]
    pool.ask_until(lambda: pool.calls[place] > before, what="being asked again")


# ---------------------------------------------------------------------------------- rate limits


def test_a_model_serves_again_once_its_rest_is_over(pools):
    pool = pools.make(2)
    pool.seats[0].will(fails(429))
    assert pool.ask().status == 200
    assert _rest_ms(pool) == pytest.approx(_LIMITED_S * 1000, abs=5)
    _is_asked_again(pool)
    token = pool.token()
    assert (token["status"], token["cooling"]) == ("active", None)


def test_rests_at_a_limit_double_and_begin_anew_after_a_success(pools):
    pool = pools.make(2)
    pool.seats[0].will(fails(429), fails(429), fails(429), good(), fails(429))
    lengths = []
    for _ in range(3):
        _is_asked_again(pool)
        lengths.append(_rest_ms(pool))
    assert lengths == pytest.approx([200, 400, 800], abs=5)
    _is_asked_again(pool)
    _is_asked_again(pool)
    assert _rest_ms(pool) == pytest.approx(200, abs=5)


def test_what_was_sent_before_a_rest_began_does_not_end_it(pools):
    pool = pools.make(1)
    pool.seats[0].will(waits(0.5), fails(429, b"", {"Retry-After": "600"}))
    slow = threading.Thread(target=pool.ask)
    slow.start()
    poll(lambda: pool.calls == [1], what="the slow one's arrival")
    assert pool.ask().status == 429
    slow.join(10)
    assert pool.asked[-1].status == 200
    (rest,) = pool.token()["cooling"]["models"]
    assert ms_from_now(rest["until"]) > 500


# ------------------------------------------------------------------------- upstreams that are down


def test_two_failures_are_no_rest_and_a_success_between_forgets_them(pools):
    pool = pools.make(2)
    for _ in range(2):
        pool.seats[0].will(fails(500), fails(500), good())
        for _ in range(3):
            pool.ask()
            assert pool.stands() == _ACTIVE
    assert pool.calls == [6, 4]


async def test_exactly_one_request_tries_an_account_after_its_rest_and_heals_it(pools, gateway):
    pool = pools.make(2)
    _take_down(pool)
    assert _rest_ms(pool) == pytest.approx(_DOWN_S * 1000, abs=5)
    pool.ask()
    assert pool.calls == [3, 4], "while it rests the other one goes first"
    pool.settled(0, "active")
    pool.seats[0].will(waits(_DOWN_S / 2))
    async with calling(gateway) as caller:
        replies = await asyncio.gather(
            *(caller.ask(f"Hello {number}", model=pool.model) for number in range(8))
        )
    assert {reply.status for reply in replies} == {200}
    assert pool.calls == [4, 11], "one tries, seven go where it is safe"
    assert pool.stands() == _ACTIVE
    pool.ask()
    assert pool.calls == [5, 11]
    pool.seats[0].will(fails(500), fails(500))
    pool.ask()
    pool.ask()
    assert pool.stands() == _ACTIVE, "what was before the success is forgotten"


def test_a_try_that_fails_makes_the_next_rest_twice_as_long(pools):
    pool = pools.make(2)
    _take_down(pool)
    pool.settled(0, "active")
    pool.seats[0].will(fails(503))
    assert pool.ask().status == 200
    assert pool.calls[0] == 4
    assert pool.stands() == _DOWN
    assert _rest_ms(pool) == pytest.approx(2 * _DOWN_S * 1000, abs=5)
    pool.settled(0, "active")
    pool.ask()
    assert (pool.calls[0], pool.stands()) == (5, _ACTIVE)


def test_a_caller_who_gives_up_during_the_try_leaves_no_account_stuck(pools, gateway):
    pool = pools.make(2)
    _take_down(pool)
    pool.settled(0, "active")
    pool.seats[0].will(waits(20))

    async def leave() -> None:
        async with calling(gateway) as caller:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await caller.ask(model=pool.model)

    asyncio.run(leave())
    assert pool.calls[0] == 4
    assert pool.seats[0].calls[-1].gone.wait(3)
    _is_asked_again(pool)
    assert pool.stands() == _ACTIVE


def test_an_account_that_is_down_is_asked_when_there_is_no_better_one(pools):
    pool = pools.make(1)
    _take_down(pool)
    assert pool.ask().status == 200
    assert (pool.calls, pool.stands()) == ([4], _ACTIVE)


def test_five_accounts_that_all_were_down_all_serve_again(pools):
    pool = pools.make(5)
    for seat in pool.seats:
        seat.always(fails(503))
    for _ in range(8):
        assert pool.ask().status == 502
    assert all(pool.stands(place) == _DOWN for place in range(5))
    for seat in pool.seats:
        seat.always(good())
    assert pool.ask().status == 200, "no rest keeps callers waiting while all are down"
    for place in range(5):
        # The first ones would take all of it.
        pool.operator.patch(f"/tokens/{pool.ids[place]}", {"priority": 100 + place})
        pool.ask_until(partial(_is_active, pool, place), what="healing")


# ------------------------------------------------------------------------------------- credentials


def test_an_expired_account_serves_with_a_new_credential(pools):
    pool = pools.make(1)
    pool.key(0, key_is_wrong())
    pool.seats[0].will(fails(401))
    pool.ask()
    pool.settled(0, "expired")
    pool.key(0, key_is_good())
    changed = {"old_token": pool.ids[0], "token": f"xai-new-{pool.model}"}
    pool.operator.put("/tokens/edit", changed)
    poll(lambda: pool.ask().status == 200, what="serving")
    assert pool.stands() == _ACTIVE
    assert pool.seats[0].calls[-1].headers["authorization"] == f"Bearer {changed['token']}"


def test_a_rejection_that_nobody_confirms_is_over_after_its_time(pools):
    pool = pools.make(1)
    with pools.operator.settings(cooling={"confirm_s": 0.5}):
        pool.seats[0].will(fails(403, {"error": "Forbidden"}))
        pool.ask()
        assert pool.stands() == ("cooling", "upstream_auth_failed")
        poll(lambda: pool.ask().status == 200, what="serving again")
    assert (pool.calls, pool.stands()) == ([2], _ACTIVE)


# ------------------------------------------------------------------------------------------ credit


async def test_one_request_tries_whether_there_is_credit_again(pools, gateway):
    pool = pools.make(2)
    pool.seats[0].will(fails(403, NO_CREDITS))
    pool.ask()
    assert pool.stands() == _UNPAID
    poll(lambda: not pool.token()["cooling"]["until"], what="the end of the rest")
    pool.seats[0].will(waits(_DOWN_S / 2, fails(403, NO_CREDITS)))
    async with calling(gateway) as caller:
        replies = await asyncio.gather(
            *(caller.ask(f"Hello {number}", model=pool.model) for number in range(6))
        )
    assert {reply.status for reply in replies} == {200}
    assert pool.calls == [2, 7]
    assert pool.stands() == _UNPAID, "there was none: it rests once more"
    _is_asked_again(pool)
    pool.settled(0, *_ACTIVE)
    assert pool.calls[0] == 3


def test_a_refresh_ends_the_rest_of_an_account_without_credit(pools):
    pool = pools.make(2)
    with pools.operator.settings(cooling={"billing_s": 900}):
        pool.seats[0].will(fails(429, NO_CREDITS))
        pool.ask()
        pool.settled(0, *_UNPAID)
        poll(lambda: pool.token()["since"], what="being written down")
        (result,) = pool.refresh(0).values()
    assert result["refreshed"] == 2
    assert pool.stands() == _ACTIVE
    pool.ask()
    assert pool.calls == [2, 1]


# ------------------------------------------------------------------------------------ the operator


def _clear(pool: Pool, place: int = 0, **body: Any) -> None:
    pool.operator.post(f"/tokens/{pool.ids[place]}/clear", body)


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        (fails(429, b"", {"Retry-After": "600"}), 1),
        (fails(403, NO_CREDITS), 1),
        (fails(401), 1),
        (fails(500), 3),
    ],
    ids=["at its limit", "no credits", "rejected", "down"],
)
def test_the_operator_ends_any_rest(pools, failure, times):
    pool = pools.make(2)
    pool.seats[0].will(*[failure] * times)
    with pools.operator.settings(cooling={"billing_s": 900, "down_s": 60}):
        for _ in range(times):
            pool.ask()
        assert pool.token()["cooling"]
        _clear(pool)
    token = pool.token()
    assert (token["status"], token["reason"], token["cooling"]) == ("active", "", None)
    pool.ask()
    assert pool.calls == [times + 1, times]
    time.sleep(0.6)  # what was noted before must not come back
    assert pool.stands() == _ACTIVE


def test_the_operator_ends_the_rest_of_one_model(pools):
    pool = pools.make(2)
    pool.seats[0].will(fails(429, b"", {"Retry-After": "600"}))
    pool.ask()
    _clear(pool, model="another-model")
    assert pool.token()["cooling"]
    _clear(pool, model=pool.model)
    assert pool.token()["cooling"] is None
    pool.ask()
    assert pool.calls == [2, 1]


def test_the_operator_lets_an_account_or_a_model_rest(pools):
    pool = pools.make(2)
    pool.operator.post(f"/tokens/{pool.ids[0]}/cool", {"seconds": 0.6})
    assert pool.token()["status"] == "cooling"
    pool.ask()
    assert pool.calls == [0, 1]
    _is_asked_again(pool)
    pool.operator.post(f"/tokens/{pool.ids[0]}/cool", {"seconds": 0.6, "model": pool.model})
    assert pool.token()["status"] == "active"
    before = pool.calls[0]
    pool.ask()
    assert pool.calls[0] == before
    _is_asked_again(pool)


def test_clearing_puts_nobody_to_work_who_is_out_of_service(pools):
    pool = pools.make(2)
    pool.key(1, key_is_wrong())
    pool.operator.post("/tokens/disabled", {"token": pool.ids[0], "disabled": True})
    pool.seats[1].will(fails(401))
    pool.ask()
    pool.settled(1, "expired")
    for place in (0, 1):
        reply = pool.operator.ask("POST", f"/tokens/{pool.ids[place]}/clear", {})
        assert (reply.status, reply.error["code"]) == (409, "not_in_service")
    assert [pool.stands(place)[0] for place in (0, 1)] == ["disabled", "expired"]
    assert pool.ask().status == 503
    assert pool.calls == [0, 1]


def test_a_disabled_account_ends_what_it_began_and_gets_nothing_more(pools):
    pool = pools.make(2)
    pool.seats[0].will(waits(0.5))
    slow = threading.Thread(target=pool.ask)
    slow.start()
    poll(lambda: pool.calls == [1, 0], what="the slow one's arrival")
    pool.operator.post("/tokens/disabled", {"token": pool.ids[0], "disabled": True})
    assert pool.ask().status == 200
    slow.join(10)
    assert [reply.status for reply in pool.asked] == [200, 200]
    assert pool.calls == [1, 1]
    assert pool.stands()[0] == "disabled", "its success must not put it back"
    pool.operator.post("/tokens/disabled", {"token": pool.ids[0], "disabled": False})
    pool.ask()
    assert pool.calls == [2, 1]


def test_a_refresh_revives_keys_that_work_again_and_finds_those_that_do_not(pools, aged):
    aged.key(0, key_is_good())
    aged.key(1, key_is_good())
    aged.key(3, key_is_blocked())
    with pools.operator.settings(refresh={"every_s": _SHORTEST_S, "jitter": 0}):
        aged.settled(0, *_ACTIVE, within_s=_SHORTEST_S + 2)
        aged.settled(1, *_ACTIVE)
        aged.settled(3, "expired", "key_blocked")
        poll(lambda: aged.token(3)["note"] == "the key is blocked", what="a word about it")
    assert aged.stands(2) == ("expired", "credential_rejected")
    assert aged.stands(4) == _ACTIVE
    before = aged.calls
    aged.ask()
    assert [now - then for now, then in zip(aged.calls, before, strict=True)] == [1, 0, 0, 0, 0]


def test_how_accounts_stand_outlasts_the_process(pools, gateway):
    """Last in this file: it starts the gateway again."""
    pool = pools.make(4)
    pool.key(1, key_is_wrong())
    pools.operator.configure(cooling={"billing_s": 900})
    pool.operator.post("/tokens/disabled", {"token": pool.ids[0], "disabled": True})
    pool.seats[1].will(fails(401))
    pool.seats[2].will(fails(403, NO_CREDITS))
    assert pool.ask().status == 200
    before = [pool.settled(at, status) for at, status in enumerate(_LASTING)]
    poll(lambda: pool.token(2)["since"], what="being written down")
    assert gateway.stop() == 0
    gateway.start()
    after = [pool.token(place) for place in range(4)]
    assert [one["status"] for one in after] == [one["status"] for one in before]
    assert [one["reason"] for one in after] == [one["reason"] for one in before]
    assert [one["fail_count"] for one in after] == [0, 1, 1, 0]
    assert [one["use_count"] for one in after] == [0, 0, 0, 1]
    assert pool.ask().status == 200
    assert pool.calls == [0, 1, 1, 2]


_LASTING = ("disabled", "expired", "cooling", "active")
