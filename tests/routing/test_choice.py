import random
import timeit
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind
from groxy.core.preferences import Preferences, SortBy
from groxy.core.quota import QuotaWindow
from groxy.core.terms import Terms
from groxy.routing import choice as module
from groxy.routing.account import Rest, Status
from groxy.routing.choice import Group, Look, Strategy, choose, share_out
from groxy.routing.router import Router
from tests.awake import awake_s
from tests.routing.fleet import (
    AUTH,
    BASIC,
    CATALOG,
    DOWN,
    HEAVY,
    LIMITED,
    QUOTA,
    SUPER,
    Clock,
    account,
    directory_of,
    ids,
    listing,
    names,
    planned,
    refusal,
    rest,
    router_of,
)

# ------------------------------------------------------------------------- resting and doubtful


@pytest.mark.parametrize("reason", [AUTH, QUOTA, LIMITED])
def test_a_resting_account_is_left_out(reason):
    router = router_of(rest(account("tired"), 60, reason), account("fit"))

    assert ids(planned(router, "grok-4.3")) == ["fit"]


@pytest.mark.parametrize("reason", [AUTH, QUOTA, LIMITED])
def test_an_account_whose_rest_is_over_serves_again(reason):
    clock = Clock()
    router = router_of(rest(account("tired"), 60, reason), clock=clock)
    clock.turn(60)

    assert ids(planned(router, "grok-4.3")) == ["tired"]


def test_when_a_whole_pool_rests_the_next_one_serves():
    basic = [rest(account(f"basic-{number}", pool=BASIC), 60, LIMITED) for number in range(5)]

    assert ids(planned(router_of(*basic, account("heavy")), "basic-plain")) == ["heavy"]


def test_a_doubtful_account_comes_last_in_its_pool_however_idle_it_is():
    accounts = [
        rest(account("doubtful"), 5, DOWN),
        account("busy", in_flight=50),
        account("busier", in_flight=60),
    ]

    assert ids(planned(router_of(*accounts), "grok-4.3")) == ["busy", "busier", "doubtful"]


def test_a_doubtful_account_comes_behind_the_healthy_ones_of_all_pools():
    accounts = [
        rest(account("basic", pool=BASIC), 5, DOWN),
        account("super", pool=SUPER),
        account("heavy", pool=HEAVY),
    ]

    assert ids(planned(router_of(*accounts), "basic-plain")) == ["super", "heavy", "basic"]


def test_a_crowd_of_doubtful_accounts_does_not_hide_a_healthy_one():
    doubtful = [rest(account(f"basic-{number}", pool=BASIC), 5, DOWN) for number in range(10)]

    plan = planned(router_of(*doubtful, account("heavy")), "basic-plain")

    assert ids(plan)[0] == "heavy"
    assert len(plan.candidates) == 3


def test_when_all_are_doubtful_they_serve():
    doubtful = [rest(account(f"{number}"), 5, DOWN) for number in range(2)]

    assert len(planned(router_of(*doubtful), "grok-4.3").candidates) == 2


def test_of_doubtful_accounts_the_least_busy_comes_first():
    doubtful = [rest(account(f"{busy}", in_flight=busy), 5, DOWN) for busy in (7, 2, 5)]

    assert ids(planned(router_of(*doubtful), "grok-4.3")) == ["2", "5", "7"]


def test_when_all_are_at_their_rate_limit_the_answer_says_when_to_come_back():
    accounts = [rest(account(f"{left}"), left, LIMITED) for left in (40.0, 17.2, 90.0)]

    error = refusal(router_of(*accounts), "grok-4.3")

    assert (error.kind, error.facts.status) == (ErrorKind.RATE_LIMITED, 429)
    assert error.retry_after_s == 18
    assert "18 s" in error.message


def test_waiting_helps_as_soon_as_one_account_is_only_limited():
    accounts = [rest(account("a"), 300, AUTH), rest(account("b"), 10, LIMITED)]

    error = refusal(router_of(*accounts), "grok-4.3")

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 10)


@pytest.mark.parametrize(("left", "told"), [(900.0, 60), (59.5, 60), (7.0, 7), (0.001, 1)])
@pytest.mark.parametrize("reason", [AUTH, QUOTA])
def test_when_no_account_can_pay_or_log_in_it_is_our_fault_and_not_the_callers(reason, left, told):
    error = refusal(router_of(rest(account(), left, reason)), "grok-4.3")

    assert (error.kind, error.facts.status) == (ErrorKind.NO_ACCOUNT, 503)
    assert error.retry_after_s == told


def test_accounts_of_other_models_do_not_matter():
    accounts = [rest(account("a", **listing("own")), 30, LIMITED), account("b")]

    assert refusal(router_of(*accounts), "own").retry_after_s == 30


# ------------------------------------------------------------------------------------- balance


@pytest.fixture
def dice():
    state = random.getstate()
    random.seed(20_260_718)
    yield
    random.setstate(state)


def test_the_least_busy_account_comes_first():
    accounts = [account(f"{busy}", in_flight=busy) for busy in (3, 0, 2, 1)]

    assert ids(planned(router_of(*accounts, most=4), "grok-4.3")) == ["0", "1", "2", "3"]


def test_being_busy_counts_within_a_pool_only():
    accounts = [account("basic", pool=BASIC, in_flight=100), account("heavy")]

    assert ids(planned(router_of(*accounts), "basic-plain")) == ["basic", "heavy"]


@pytest.mark.usefixtures("dice")
@pytest.mark.parametrize("size", [2, 5, 10])
def test_a_thousand_plans_spread_evenly_over_idle_accounts(size):
    router = router_of(*(account(f"{number}") for number in range(size)))

    firsts = Counter(ids(planned(router, "grok-4.3"))[0] for _ in range(1000))

    fair = 1000 / size
    assert len(firsts) == size
    assert all(0.7 * fair < count < 1.3 * fair for count in firsts.values())


@pytest.mark.parametrize("size", [2, 7, 8])
def test_requests_that_stay_open_are_spread_to_the_last_one(size):
    accounts = [account(f"{number}") for number in range(size)]
    router = router_of(*accounts)

    for _ in range(1000):
        planned(router, "grok-4.3").candidates[0].account.in_flight += 1

    loads = [one.in_flight for one in accounts]
    assert max(loads) - min(loads) <= 1


@pytest.mark.usefixtures("dice")
def test_requests_that_stay_open_spread_over_a_large_pool_nearly_as_well():
    accounts = [account(f"{number}") for number in range(500)]
    router = router_of(*accounts)

    for _ in range(10 * len(accounts)):
        planned(router, "grok-4.3").candidates[0].account.in_flight += 1

    loads = [one.in_flight for one in accounts]
    assert sum(loads) == 5000
    assert max(loads) <= 13


# ------------------------------------------------------------------------------ ten thousand

MANY = 10_000


def many(**changes):
    return [account(f"{number}", **changes) for number in range(MANY)]


def seconds_of_a_plan(router):
    planned(router, "grok-4.3")
    return min(timeit.repeat(lambda: planned(router, "grok-4.3"), number=200, repeat=10)) / 200


def test_ten_thousand_accounts_plan_nearly_as_fast_as_a_hundred():
    hundred = seconds_of_a_plan(router_of(*(account(f"{number}") for number in range(100))))

    assert seconds_of_a_plan(router_of(*many())) < 5 * hundred


def test_the_only_fit_one_of_ten_thousand_accounts_is_found():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)

    assert {tuple(ids(planned(router, "grok-4.3"))) for _ in range(20)} == {("4321",)}


def test_the_few_fit_ones_of_ten_thousand_accounts_all_get_their_turn():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    fit = {"17", "4321", "5000", "9999"}
    for one in accounts:
        if one.id in fit:
            rest(one, 0, None)
    router = router_of(*accounts)

    plans = [ids(planned(router, "grok-4.3")) for _ in range(60)]

    assert {len(plan) for plan in plans} == {3}
    assert {name for plan in plans for name in plan} == fit


def test_the_healthy_one_of_ten_thousand_accounts_comes_before_the_doubtful_ones():
    accounts = [rest(one, 5, DOWN) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)

    plans = [ids(planned(router, "grok-4.3")) for _ in range(20)]

    assert {plan[0] for plan in plans} == {"4321"}
    assert {len(plan) for plan in plans} == {3}


def test_ten_thousand_doubtful_accounts_still_serve():
    router = router_of(*(rest(one, 5, DOWN) for one in many()))

    assert len(planned(router, "grok-4.3").candidates) == 3


def test_ten_thousand_resting_accounts_are_an_answer_and_no_crash():
    router = router_of(*(rest(one, 30, LIMITED) for one in many()))

    assert refusal(router, "grok-4.3").retry_after_s == 30


def test_the_models_of_ten_thousand_accounts_are_listed_in_no_time():
    own = {f"own-{number}" for number in range(200)}
    router = router_of(*many(**listing("grok-4.3", *own)))
    began = awake_s()

    found = names(router)

    assert own < set(found)
    assert awake_s() - began < 0.5


def test_the_only_fit_one_of_ten_thousand_is_found_by_speed_too():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)
    plans = [
        ids(planned(router, "grok-4.3", preferences=Preferences(sort=SortBy.LATENCY)))
        for _ in range(5)
    ]

    assert plans == [["4321"]] * 5


def test_the_only_one_of_ten_thousand_accounts_that_is_not_at_its_bound_is_found():
    accounts = many(most_in_flight=2, in_flight=2)
    accounts[4321].in_flight = 1

    assert ids(planned(router_of(*accounts), "grok-4.3")) == ["4321"]


def test_an_account_that_came_to_its_bound_a_moment_ago_does_not_hide_the_others():
    """A look at very many is remembered for a while; what it found is looked at again."""
    accounts = many(most_in_flight=2, in_flight=2)
    for one in accounts[:40]:
        one.in_flight = 1
    router = router_of(*accounts)
    planned(router, "grok-4.3")
    for one in accounts[:39]:
        one.in_flight = 2

    assert {tuple(ids(planned(router, "grok-4.3"))) for _ in range(20)} == {("39",)}


@pytest.mark.parametrize("size", [9, 100, 1000])
def test_an_account_that_is_free_again_is_seen_soon(size):
    clock = Clock()
    accounts = [account(f"{number}", most_in_flight=1, in_flight=1) for number in range(size)]
    router = router_of(*accounts, clock=clock)
    refusal(router, "grok-4.3")
    accounts[size // 2].in_flight = 0
    clock.turn(0.02)

    assert ids(planned(router, "grok-4.3")) == [f"{size // 2}"]


# --------------------------------------------------------------------- priority, bounds, weight


def test_a_higher_priority_goes_first_within_a_pool():
    accounts = [
        account("basic low", pool=BASIC, terms=Terms(priority=-5)),
        account("basic high", pool=BASIC, terms=Terms(priority=7), in_flight=50),
        account("heavy highest", terms=Terms(priority=1000)),
        account("basic usual", pool=BASIC),
    ]
    plan = planned(router_of(*accounts, most=4), "basic-plain")

    assert ids(plan) == ["basic high", "basic usual", "basic low", "heavy highest"]


WINDOW = QuotaWindow(remaining=0, total=5, window_s=60, reset_at=Clock().at + 20)
AT_A_BOUND: dict[str, dict[str, Any]] = {
    "in_flight": {"most_in_flight": 3, "in_flight": 3},
    "model_cooling": {"model_rests": {"grok-4.3": Rest(Clock().at + 9, LIMITED)}},
    "quota": {"windows": {"official": WINDOW}},
}


@pytest.mark.parametrize("why", AT_A_BOUND)
def test_an_account_at_a_bound_is_left_out_and_the_reason_is_noted(why):
    plan = planned(router_of(account("bound", **AT_A_BOUND[why]), account("fit")), "grok-4.3")

    assert (ids(plan), plan.notes.passed) == (["fit"], [("bound", why)])


@pytest.mark.parametrize("why", AT_A_BOUND)
def test_a_doubtful_account_at_a_bound_is_left_out_too(why):
    doubtful = rest(account("bound", **AT_A_BOUND[why]), 5, DOWN)

    assert ids(planned(router_of(doubtful, account("fit")), "grok-4.3")) == ["fit"]


def test_when_all_are_at_a_bound_the_caller_is_told_to_come_back():
    accounts = [account(why.replace("_", "-"), **own) for why, own in AT_A_BOUND.items()]
    error = refusal(router_of(*accounts), "grok-4.3")

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 1)


def test_when_only_a_window_is_used_up_its_end_is_told():
    error = refusal(router_of(account(**AT_A_BOUND["quota"])), "grok-4.3")

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 20)


def test_an_account_whose_model_rests_serves_others():
    one = account(
        model_rests={"grok-4.3": Rest(Clock().at + 9, LIMITED)}, **listing("a", "grok-4.3")
    )
    router = router_of(one)

    assert ids(planned(router, "a")) == ["acc_1"]
    assert refusal(router, "grok-4.3").kind is ErrorKind.RATE_LIMITED


def test_what_was_compared_is_noted():
    plan = planned(router_of(account("a"), account("b", in_flight=1)), "grok-4.3")

    assert (plan.of, list(plan.notes.scores)) == (2, ["a", "b"])
    assert plan.notes.scores["a"] < plan.notes.scores["b"]


def test_of_very_many_that_cannot_serve_a_few_are_noted():
    accounts = [rest(one, 60, LIMITED) for one in many()]
    rest(accounts[4321], 0, None)
    router = router_of(*accounts)
    for _ in range(3):
        plan = planned(router, "grok-4.3")
        assert 0 < len(plan.notes.passed) <= 8
        assert {why for _, why in plan.notes.passed} == {"cooling"}


# -------------------------------------------------------------------------------------- by lot


def drawn(*accounts, strategy, draws=4000):
    group = Group(planned(router_of(*accounts), "grok-4.3").candidates)
    look = Look(most=1, now=Clock().at, strategy=strategy)
    return Counter(choose((group,), look)[0].account.id for _ in range(draws))


@pytest.mark.usefixtures("dice")
def test_by_lot_a_weight_is_a_share_of_the_work():
    accounts = [account(f"{weight}", terms=Terms(weight=weight)) for weight in (1, 3)]
    firsts = drawn(*accounts, strategy=Strategy.RANDOM)

    assert firsts["3"] / firsts["1"] == pytest.approx(3, rel=0.2)


@pytest.mark.usefixtures("dice")
def test_by_lot_neither_load_nor_health_counts():
    accounts = [account("idle"), account("busy", in_flight=99, health=0.1)]
    firsts = drawn(*accounts, strategy=Strategy.RANDOM)

    assert firsts["busy"] / firsts["idle"] == pytest.approx(1, rel=0.2)


def test_by_quota_the_better_one_always_comes_first():
    accounts = [account("idle"), account("busy", in_flight=1)]

    assert drawn(*accounts, strategy=Strategy.QUOTA, draws=100) == {"idle": 100}


@pytest.mark.parametrize("strategy", Strategy)
def test_no_strategy_takes_an_account_that_rests(strategy):
    accounts = [account("rests"), account("fit", in_flight=9)]
    candidates = planned(router_of(*accounts), "grok-4.3").candidates
    rest(accounts[0], 30, LIMITED)
    look = Look(most=2, now=Clock().at, strategy=strategy)

    assert [one.account.id for one in choose((Group(candidates),), look)] == ["fit"]


def test_work_is_spread_by_weight():
    accounts = [account(f"{weight}", terms=Terms(weight=weight)) for weight in (1, 2, 5)]
    router = router_of(*accounts)
    for _ in range(800):
        planned(router, "grok-4.3").candidates[0].account.in_flight += 1

    assert [one.in_flight for one in accounts] == pytest.approx([100, 200, 500], abs=5)


# --------------------------------------------------------------------------------- properties

STANDINGS = st.sampled_from(
    ["fit", "busy", "resting", "doubtful", "disabled", "expired", "bound", "model", "quota"]
)


def one_that_is(standing, number):
    """Return an account that stands so."""
    one = account(f"{number}", pool=(BASIC, SUPER, HEAVY)[number % 3], in_flight=number % 4)
    if standing == "busy":
        one.in_flight += 100
    if standing in ("resting", "doubtful"):
        rest(one, 30, LIMITED if standing == "resting" else DOWN)
    if standing in ("disabled", "expired"):
        one.stand(Status(standing), "", Clock().at)
    if standing == "bound":
        one.most_in_flight = one.in_flight = 1
    if standing == "model":
        one.model_rests["grok-4.3"] = Rest(Clock().at + 9, LIMITED)
    if standing == "quota":
        one.windows["official"] = QuotaWindow(remaining=0, total=5, window_s=60)
    one.note_terms()
    return one


@given(
    st.lists(STANDINGS, min_size=1, max_size=30),
    st.integers(1, 12),
    st.sampled_from(Strategy),
    st.sampled_from([None, SortBy.LATENCY, SortBy.THROUGHPUT]),
)
def test_whoever_is_chosen_can_serve_and_nobody_is_forgotten(standings, most, strategy, sort):
    accounts = [one_that_is(standing, number) for number, standing in enumerate(standings)]
    preferences = Preferences(sort=sort)
    router = Router(CATALOG, directory_of(*accounts), max_candidates=most, strategy=strategy)
    able: dict[str, list[str]] = {standing: [] for standing in ("fit", "busy", "doubtful")}
    for one, standing in zip(accounts, standings, strict=True):
        able.get(standing, []).append(one.id)
    well = able["fit"] + able["busy"]
    if not well and not able["doubtful"]:
        refusal(router, "grok-4.3", preferences=preferences)
        return
    for _ in range(3):
        chosen = ids(planned(router, "grok-4.3", preferences=preferences))

        assert len(set(chosen)) == len(chosen) == min(most, len(well) + len(able["doubtful"]))
        assert set(chosen[: len(well)]) <= set(well)
        assert set(chosen[len(well) :]) <= set(able["doubtful"])


# --------------------------------------------------------------------------------------- speed

LATENCY, THROUGHPUT = SortBy.LATENCY, SortBy.THROUGHPUT


@pytest.fixture
def looks_around(monkeypatch):
    """Say how often the fastest account gives way to others; at first never."""

    def often(how_often):
        monkeypatch.setattr(module, "_LOOKS_AROUND", how_often)

    often(0)
    return often


def fastest(router, sort):
    return ids(planned(router, "grok-4.3", preferences=Preferences(sort=sort)))


@pytest.mark.usefixtures("looks_around")
def test_the_account_that_begins_soonest_comes_first():
    accounts = [account(f"{wait}", first_event_s=wait) for wait in (0.5, 0.1, 2.0)]

    assert fastest(router_of(*accounts), LATENCY) == ["0.1", "0.5", "2.0"]


@pytest.mark.usefixtures("looks_around")
def test_the_account_that_writes_fastest_comes_first():
    accounts = [account(f"{pace}", tokens_per_s=pace) for pace in (50, 200, 90)]

    assert fastest(router_of(*accounts), THROUGHPUT) == ["200", "90", "50"]


@pytest.mark.usefixtures("looks_around")
@pytest.mark.parametrize("sort", [LATENCY, THROUGHPUT])
def test_speed_counts_more_than_load_and_pool(sort):
    accounts = [
        account("slow", pool=BASIC, first_event_s=1, tokens_per_s=10),
        account("fast", pool=HEAVY, first_event_s=0.1, tokens_per_s=99, in_flight=50),
    ]

    assert fastest(router_of(*accounts), sort) == ["fast", "slow"]


@pytest.mark.usefixtures("looks_around")
@pytest.mark.parametrize("sort", [LATENCY, THROUGHPUT])
def test_an_account_that_was_not_measured_yet_comes_last(sort):
    accounts = [account("new"), account("known", first_event_s=9, tokens_per_s=1)]

    assert fastest(router_of(*accounts), sort) == ["known", "new"]


@pytest.mark.parametrize("sort", [LATENCY, THROUGHPUT])
def test_now_and_then_an_account_that_was_not_measured_yet_comes_first(sort, looks_around):
    looks_around(1)
    accounts = [account("new", in_flight=9), account("known", first_event_s=9, tokens_per_s=1)]

    assert fastest(router_of(*accounts), sort) == ["new", "known"]


def test_when_others_are_tried_the_idle_ones_are():
    accounts = [account("fast", first_event_s=0.1, in_flight=5), account("b", first_event_s=9)]
    group = Group(planned(router_of(*accounts), "grok-4.3").candidates)

    firsts = Counter(
        choose((group,), Look(most=2, now=0.0, sort=LATENCY))[0].account.id for _ in range(2000)
    )

    assert 0.02 < firsts["b"] / 2000 < 0.1


@pytest.mark.usefixtures("looks_around")
def test_without_measures_the_least_busy_comes_first():
    accounts = [account(f"{busy}", in_flight=busy) for busy in (3, 0, 1)]

    assert fastest(router_of(*accounts), THROUGHPUT) == ["0", "1", "3"]


@pytest.mark.usefixtures("looks_around")
def test_a_fast_account_that_rests_or_failed_does_not_come_first():
    accounts = [
        rest(account("rests", first_event_s=0.1), 30, LIMITED),
        rest(account("doubtful", first_event_s=0.1), 30, DOWN),
        account("slow", first_event_s=9),
    ]

    assert fastest(router_of(*accounts), LATENCY) == ["slow", "doubtful"]


@pytest.mark.usefixtures("looks_around")
def test_of_ten_thousand_accounts_a_fast_one_is_found():
    accounts = [account(f"{number}", first_event_s=1 + number) for number in range(MANY)]
    router = router_of(*accounts)

    assert all(int(fastest(router, LATENCY)[0]) < MANY / 10 for _ in range(20))


# ------------------------------------------------------------------------------ several models


def row(letter, size):
    """Return candidates that are known by a letter and a number."""
    accounts = [account(f"{letter}{number}", in_flight=number) for number in range(size)]
    return list(planned(router_of(*accounts, most=size), "grok-4.3").candidates)


@pytest.mark.parametrize(
    ("sizes", "most", "shared"),
    [
        ((3,), 2, "a0 a1"),
        ((5, 5), 3, "a0 a1 b0"),
        ((1, 5), 3, "a0 b0 b1"),
        ((5, 5, 5), 3, "a0 b0 c0"),
        ((5, 5, 5), 1, "a0 b0 c0"),
        ((5, 1, 5), 5, "a0 a1 a2 b0 c0"),
        ((1, 1), 9, "a0 b0"),
    ],
)
def test_every_model_has_one_candidate_and_the_first_has_what_is_left_over(sizes, most, shared):
    rows = [row(letter, size) for letter, size in zip("abc", sizes, strict=False)]

    assert " ".join(one.account.id for one in share_out(rows, most)) == shared
