import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, Fault, GroxyError, facts_of
from groxy.core.terms import Terms
from groxy.routing.account import Status
from groxy.routing.accounts import Directory
from groxy.state._base import CoolDown, Load
from groxy.upstreams._base import Upstream
from tests.routing.fleet import BASIC, HEAVY, Clock, account, directory_of, failure

AUTH, QUOTA = ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA
LIMITED, DOWN = ErrorKind.UPSTREAM_LIMITED, ErrorKind.UPSTREAM_DOWN
SOFT = [
    ErrorKind.UPSTREAM_DOWN,
    ErrorKind.UPSTREAM_TIMEOUT,
    ErrorKind.STREAM_BROKEN,
    ErrorKind.BAD_REPLY,
]
FAULTLESS = [kind for kind in ErrorKind if facts_of(kind).fault in (Fault.CALLER, Fault.GATEWAY)]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def first():
    return account("acc_1")


@pytest.fixture
def directory(clock, first):
    return directory_of(first, account("acc_2"), clock=clock)


def standing(directory, one):
    """Return how an account stands, in one word."""
    now = directory.now()
    if one.is_resting(now):
        return "rests"
    return "doubtful" if one.is_doubtful(now) else "fit"


def rest_s(directory, one):
    """Return how long an account rests from now on, to the millisecond."""
    return round(max(one.rest_until - directory.now(), 0), 3)


def fail(directory, one, *kinds, retry_after_s=None):
    for kind in kinds:
        directory.note_failure(one, failure(kind, retry_after_s))


# ------------------------------------------------------------------------------ whose fault


@pytest.mark.parametrize("kind", FAULTLESS)
def test_what_the_caller_or_the_gateway_did_never_counts_against_an_account(directory, first, kind):
    fail(directory, first, *[kind] * 50, retry_after_s=60)

    assert (standing(directory, first), first.failures) == ("fit", 0)
    assert directory.unshared == {}


@pytest.mark.parametrize("kind", FAULTLESS)
def test_what_the_caller_did_does_not_break_a_row_of_failures(directory, first, kind):
    fail(directory, first, DOWN, DOWN, kind, DOWN)

    assert standing(directory, first) == "doubtful"


def test_kinds_of_error_have_a_fault_that_accounts_know_what_to_do_with():
    counted = {kind for kind in ErrorKind if kind not in FAULTLESS}

    assert counted == {AUTH, QUOTA, LIMITED, *SOFT}


def test_another_account_is_not_made_to_suffer(directory, first):
    other = directory.accounts[1]
    fail(directory, first, AUTH, DOWN, DOWN, DOWN)

    assert (standing(directory, other), other.failures) == ("fit", 0)


@pytest.mark.parametrize("kind", [AUTH, QUOTA, LIMITED, *SOFT])
def test_accounts_of_an_upstream_that_fails_when_asked_to_never_rest(kind):
    sandbox = account("sandbox", "sandbox")
    directory = directory_of(sandbox)

    fail(directory, sandbox, *[kind] * 10)

    assert standing(directory, sandbox) == "fit"


# ------------------------------------------------------------------------------------- rests


@pytest.mark.parametrize(
    ("kind", "seconds", "state"),
    [
        (AUTH, 30, Status.COOLING),
        (QUOTA, 3600, Status.COOLING),
        (LIMITED, 1, Status.COOLING),
    ],
)
def test_what_is_the_accounts_fault_makes_it_rest_at_once(
    directory, clock, first, kind, seconds, state
):
    fail(directory, first, kind)
    began = standing(directory, first), first.status(clock.at)
    clock.turn(seconds - 0.01)
    before_the_end = standing(directory, first)
    clock.turn(0.02)

    assert began == ("rests", state)
    assert before_the_end == "rests"
    assert (standing(directory, first), first.status(clock.at)) == ("fit", Status.ACTIVE)


def test_a_rate_limit_rests_as_long_as_the_upstream_asked(directory, first):
    fail(directory, first, LIMITED, retry_after_s=17.5)

    assert rest_s(directory, first) == 17.5


@pytest.mark.parametrize("asked", [3601, 86_400, 2_600_000, float("inf")])
def test_an_upstream_that_asks_for_too_much_gets_an_hour(directory, first, asked):
    fail(directory, first, LIMITED, retry_after_s=asked)

    assert rest_s(directory, first) == 3600


def test_a_rate_limit_that_asks_for_nothing_backs_off_twice_as_long_each_time(
    directory, clock, first
):
    rests = []
    for _ in range(12):
        fail(directory, first, LIMITED)
        rests.append(rest_s(directory, first))
        clock.turn(rests[-1])

    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]


@pytest.mark.parametrize("asked", [0, 0.0, None])
def test_a_rate_limit_without_a_time_rests_nevertheless(directory, first, asked):
    fail(directory, first, LIMITED, retry_after_s=asked)

    assert rest_s(directory, first) == 1


def test_ten_thousand_rate_limits_in_a_row_are_still_bounded(directory, clock, first):
    for _ in range(10_000):
        fail(directory, first, LIMITED)
        clock.turn(60)
    fail(directory, first, LIMITED)

    assert rest_s(directory, first) == 60


# -------------------------------------------------------------------------------------- doubt


@pytest.mark.parametrize("kind", SOFT)
def test_the_third_failure_in_a_row_makes_an_account_doubtful(directory, clock, first, kind):
    standings = []
    for _ in range(3):
        fail(directory, first, kind)
        standings.append(standing(directory, first))
    clock.turn(4.99)
    standings.append(standing(directory, first))
    clock.turn(0.02)
    standings.append(standing(directory, first))

    assert standings == ["fit", "fit", "doubtful", "doubtful", "fit"]


def test_different_failures_make_one_row(directory, first):
    fail(directory, first, *SOFT[:3])

    assert standing(directory, first) == "doubtful"


def test_after_the_doubt_one_more_failure_is_enough(directory, clock, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    clock.turn(6)
    fail(directory, first, DOWN)

    assert standing(directory, first) == "doubtful"


def test_a_doubtful_account_that_fails_again_stays_doubtful_longer(directory, clock, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    clock.turn(4)
    fail(directory, first, DOWN)

    assert rest_s(directory, first) == 5


@pytest.mark.parametrize("kind", SOFT)
def test_a_crowd_that_fails_together_makes_one_doubt_and_no_long_one(directory, clock, first, kind):
    fail(directory, first, *[kind] * 64)

    assert (standing(directory, first), rest_s(directory, first)) == ("doubtful", 5)


def test_a_doubtful_account_whose_key_is_rejected_rests(directory, first):
    fail(directory, first, DOWN, DOWN, DOWN, AUTH)

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 30)


def test_an_upstream_that_is_down_may_say_for_how_long(directory, first):
    fail(directory, first, DOWN, DOWN, retry_after_s=40)
    after_two = standing(directory, first)
    fail(directory, first, DOWN, retry_after_s=40)

    assert after_two == "fit"
    assert (standing(directory, first), rest_s(directory, first)) == ("doubtful", 40)


# ------------------------------------------------------------------------------------ success


def test_a_success_breaks_a_row_of_failures(directory, first):
    fail(directory, first, DOWN, DOWN)
    directory.note_success(first)
    fail(directory, first, DOWN, DOWN)

    assert standing(directory, first) == "fit"


def test_a_success_ends_the_doubt(directory, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    directory.note_success(first)

    assert (standing(directory, first), first.failures) == ("fit", 0)


@pytest.mark.parametrize("kind", [AUTH, QUOTA, LIMITED])
def test_a_success_that_was_on_its_way_says_nothing_of_what_came_after_it(directory, first, kind):
    fail(directory, first, kind)
    directory.note_success(first)

    assert standing(directory, first) == "rests"


def test_a_success_lets_rejections_begin_anew(directory, clock, first):
    fail(directory, first, AUTH)
    clock.turn(31)
    fail(directory, first, AUTH)
    clock.turn(61)
    directory.note_success(first)
    fail(directory, first, AUTH)

    assert rest_s(directory, first) == 30


def test_a_success_after_a_rate_limit_is_over_lets_the_next_one_begin_small(
    directory, clock, first
):
    for _ in range(4):
        fail(directory, first, LIMITED)
        clock.turn(rest_s(directory, first))
    directory.note_success(first)
    fail(directory, first, LIMITED)

    assert rest_s(directory, first) == 1


# --------------------------------------------------- attempts that were on their way already


def test_a_success_that_was_on_its_way_does_not_lift_a_rate_limit(directory, clock, first):
    fail(directory, first, LIMITED, retry_after_s=20)
    clock.turn(1)
    directory.note_success(first)

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 19)


def test_a_crowd_that_hits_one_rate_limit_counts_as_one_failure(directory, clock, first):
    fail(directory, first, *[LIMITED] * 64)
    at_first = rest_s(directory, first)
    clock.turn(at_first)
    fail(directory, first, *[LIMITED] * 64)

    assert (at_first, rest_s(directory, first)) == (1, 2)


def test_a_later_failure_never_makes_a_rest_shorter(directory, clock, first):
    fail(directory, first, AUTH)
    clock.turn(10)
    fail(directory, first, LIMITED, LIMITED)

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 20)
    assert first.rest_reason is AUTH


def test_a_later_failure_may_make_a_rest_longer(directory, first):
    fail(directory, first, LIMITED)
    fail(directory, first, LIMITED, retry_after_s=30)

    assert rest_s(directory, first) == 30


def test_an_account_that_rests_is_not_made_merely_doubtful(directory, first):
    fail(directory, first, LIMITED)
    fail(directory, first, *SOFT, *SOFT, retry_after_s=1000)

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 1)


# ---------------------------------------------------------------------------- the accounts


def test_accounts_keep_their_order(clock):
    ids = [f"acc_{number}" for number in (3, 1, 2)]

    assert [one.id for one in directory_of(*map(account, ids), clock=clock).accounts] == ids


def test_an_account_that_stays_keeps_all_that_is_known_of_it(directory, first):
    fail(directory, first, AUTH)
    directory.set_models(first, frozenset({"grok-4"}))
    first.in_flight = 3

    directory.replace([account("acc_1"), account("acc_3")])

    kept = directory.accounts[0]
    assert kept is first
    assert (standing(directory, kept), kept.models, kept.in_flight) == ("rests", {"grok-4"}, 3)


def test_replacing_returns_the_accounts_that_are_gone(directory, first):
    gone = directory.replace([account("acc_2"), account("acc_3")])

    assert gone == [first]
    assert [one.id for one in directory.accounts] == ["acc_2", "acc_3"]


def test_an_account_that_comes_back_begins_anew(directory, first):
    fail(directory, first, AUTH)
    directory.replace([])
    directory.replace([account("acc_1")])

    assert standing(directory, directory.accounts[0]) == "fit"


def test_the_generation_grows_when_accounts_or_lists_change_and_only_then(directory, first):
    generations = [directory.generation]
    for change in (
        lambda: directory.replace([account("acc_1")]),
        lambda: directory.set_models(first, frozenset({"a"})),
        lambda: directory.set_models(first, frozenset({"a"})),
        lambda: directory.note_failure(first, failure(AUTH)),
        lambda: directory.note_success(first),
        lambda: directory.set_models(first, None),
    ):
        change()
        generations.append(directory.generation)

    steps = [after - before for before, after in pairwise(generations)]
    assert [step > 0 for step in steps] == [True, True, False, False, False, True]


def test_the_usual_clock_is_unix_time():
    import time

    assert abs(Directory().now() - time.time()) < 5


def test_accounts_are_counted_by_upstream_pool_and_state(clock):
    expired, cooling, disabled = account("a"), account("b"), account("e")
    well = account("c"), account("d", pool=BASIC)
    directory = directory_of(expired, cooling, disabled, *well, clock=clock)
    expired.stand(Status.EXPIRED, "", clock.at)
    disabled.stand(Status.DISABLED, "", clock.at)
    fail(directory, cooling, LIMITED)

    assert dict(directory.counts()) == {
        ("xai", "heavy", "active"): 1,
        ("xai", "heavy", "cooling"): 1,
        ("xai", "heavy", "expired"): 1,
        ("xai", "heavy", "disabled"): 1,
        ("xai", "basic", "active"): 1,
        ("xai", "basic", "cooling"): 0,
        ("xai", "basic", "expired"): 0,
        ("xai", "basic", "disabled"): 0,
    }


def test_a_credential_does_not_show_when_an_account_is_printed(first):
    assert "xai-key" not in repr(first)


# ------------------------------------------------------------------------ with other processes


def shared(directory):
    """Take what is to be told to others, as `app` does, and return it."""
    news = dict(directory.unshared)
    directory.unshared.clear()
    return news


def test_a_rest_is_told_with_its_end_and_its_reason(directory, clock, first):
    fail(directory, first, AUTH)

    assert shared(directory) == {
        "acc_1": CoolDown(until=clock.at + 30, reason="upstream_auth_failed")
    }


def test_a_single_broken_connection_is_not_worth_telling(directory, first):
    fail(directory, first, DOWN, DOWN)

    assert shared(directory) == {}


def test_the_end_of_a_rest_is_told_once(directory, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    shared(directory)
    directory.note_success(first)
    directory.note_success(first)

    assert directory.unshared == {"acc_1": None}


def test_what_others_learned_is_taken_over(directory, clock, first):
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 50, reason="upstream_auth_failed")})

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 50)
    assert first.rest_reason is AUTH
    assert first.status(clock.at) is Status.COOLING
    assert directory.unshared == {}


def test_a_doubt_of_others_is_a_doubt_here(directory, clock, first):
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 5, reason="upstream_unavailable")})

    assert standing(directory, first) == "doubtful"


def test_a_rest_that_others_ended_ends_here(directory, first):
    fail(directory, first, AUTH)
    directory.take_shared(shared(directory))
    assert standing(directory, first) == "rests"
    directory.take_shared({})

    assert standing(directory, first) == "fit"


def test_news_of_our_own_that_nobody_knows_yet_counts_more(directory, clock, first):
    other = directory.accounts[1]
    fail(directory, first, AUTH)
    directory.take_shared({"acc_2": CoolDown(until=clock.at + 50, reason="upstream_auth_failed")})

    assert (standing(directory, first), standing(directory, other)) == ("rests", "rests")


@pytest.mark.parametrize("reason", ["a_reason_of_next_year", "", "AUTH"])
def test_a_reason_that_only_a_newer_groxy_knows_makes_an_account_doubtful(
    directory, clock, first, reason
):
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 50, reason=reason)})

    assert standing(directory, first) == "doubtful"


def test_news_of_accounts_that_are_not_ours_is_passed_over(directory, clock, first):
    directory.take_shared({"acc_9": CoolDown(until=clock.at + 50, reason="upstream_auth_failed")})

    assert [standing(directory, one) for one in directory.accounts] == ["fit", "fit"]


def test_news_that_cannot_be_told_for_hours_do_not_pile_up(directory, clock, first):
    for _ in range(10_000):
        for one in directory.accounts:
            fail(directory, one, DOWN)
            clock.turn(0.001)

    assert len(directory.unshared) <= len(directory.accounts) + 1
    assert dict(directory.unshared)["acc_1"].until == first.rest_until


def test_newer_news_of_a_rest_take_the_place_of_older_ones_and_go_last(directory, first):
    fail(directory, first, AUTH)
    on_its_way = directory.unshared["acc_1"]
    fail(directory, directory.accounts[1], AUTH)
    directory.clear(first)

    assert list(directory.unshared) == ["acc_2", "acc_1"]
    assert directory.unshared["acc_1"] is not on_its_way


def test_an_upstream_of_another_maker_counts_like_ours(clock):
    class Foreign(Upstream):
        name = "foreign"

    one = account("a", Foreign())
    directory = directory_of(one, clock=clock)
    directory.note_failure(one, GroxyError(AUTH, "No."))

    assert directory.counts()["foreign", HEAVY.value, "cooling"] == 1


# --------------------------------------------------------------------------------- model lists


def test_equal_lists_of_many_accounts_are_kept_once(directory, first):
    other = directory.accounts[1]
    directory.set_models(first, frozenset({"a", "b"}))
    directory.set_models(other, frozenset(["b", "a"]))

    assert first.models is other.models


def test_lists_that_nobody_has_any_more_are_not_kept(directory, first):
    for number in range(1000):
        directory.set_models(first, frozenset({f"{number}"}))

    assert len(directory._lists) <= 2 * len(directory.accounts) + 1


# --------------------------------------------------------------------- what is noted for later


def test_a_rejected_credential_is_doubted_and_not_expired_by_a_caller(directory, clock, first):
    fail(directory, first, AUTH, AUTH)

    assert directory.doubted == {"acc_1": first}
    assert first.standing is Status.ACTIVE


def test_each_rejection_after_a_rest_doubles_the_next_one(directory, clock, first):
    rests = []
    for _ in range(9):
        fail(directory, first, *[AUTH] * 5)
        rests.append(rest_s(directory, first))
        clock.turn(rests[-1])

    assert rests == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_an_account_without_credit_is_noted(directory, first):
    fail(directory, first, QUOTA)

    assert directory.unpaid == {"acc_1": first}
    assert first.standing is Status.ACTIVE


def test_a_success_heals_an_account_that_had_no_credit(directory, clock, first):
    first.stand(Status.COOLING, "upstream_quota_exhausted", clock.at)
    first.rest_until, first.rest_reason = clock.at + 60, QUOTA
    clock.turn(61)
    directory.begin(first, "grok-4.3", "official", 0)
    directory.note_success(first)

    assert (first.status(clock.at), standing(directory, first)) == (Status.ACTIVE, "fit")
    assert directory.healed == {"acc_1": first}


def test_a_success_that_began_before_the_credit_was_gone_heals_nothing(directory, clock, first):
    first.stand(Status.COOLING, "upstream_quota_exhausted", clock.at)
    first.rest_until, first.rest_reason = clock.at + 60, QUOTA
    directory.note_success(first)

    assert (first.status(clock.at), standing(directory, first)) == (Status.COOLING, "rests")
    assert directory.healed == {}


def test_uses_and_failures_are_counted(directory, clock, first):
    directory.note_success(first)
    clock.turn(5)
    fail(directory, first, LIMITED)
    fail(directory, first, ErrorKind.BAD_REQUEST)
    own = first.tally

    assert directory.touched == {first}
    assert (own.uses, own.failures, own.last_error) == (1, 1, "upstream_rate_limited")
    assert own.last_used == own.last_failed == clock.at


# ------------------------------------------------------------------------------- single models


def limit(directory, one, model="a", retry_after_s=None):
    directory.note_failure(one, failure(LIMITED, retry_after_s), model)


def model_rest_s(directory, one, model="a"):
    rest = one.model_rests.get(model)
    return 0 if rest is None else round(max(rest.until - directory.now(), 0), 3)


def may_begin(directory, one, model="a"):
    has_begun = directory.begin(one, model, "official", 0)
    if has_begun:
        directory.end(one, 0)
    return has_begun


def test_a_rate_limit_of_one_model_rests_that_model_only(directory, first):
    limit(directory, first)

    assert (standing(directory, first), model_rest_s(directory, first)) == ("fit", 1)
    assert (may_begin(directory, first, "a"), may_begin(directory, first, "b")) == (False, True)


def test_the_rest_of_a_model_is_told_by_account_and_model(directory, clock, first):
    limit(directory, first, retry_after_s=9)

    assert shared(directory) == {
        "acc_1\na": CoolDown(until=clock.at + 9, reason="upstream_rate_limited")
    }


def test_each_model_backs_off_on_its_own(directory, clock, first):
    rests = []
    for _ in range(4):
        limit(directory, first, "a")
        rests.append(model_rest_s(directory, first, "a"))
        clock.turn(rests[-1])
    limit(directory, first, "b")

    assert (rests, model_rest_s(directory, first, "b")) == ([1, 2, 4, 8], 1)


def test_another_models_success_does_not_shorten_the_back_off(directory, clock, first):
    for _ in range(3):
        limit(directory, first, "a")
        clock.turn(model_rest_s(directory, first, "a"))
        directory.note_success(first, "b")
    limit(directory, first, "a")

    assert model_rest_s(directory, first, "a") == 8


def test_the_models_own_success_lets_it_begin_anew(directory, clock, first):
    for _ in range(3):
        limit(directory, first, "a")
        clock.turn(model_rest_s(directory, first, "a"))
    assert may_begin(directory, first, "a")
    directory.note_success(first, "a")
    limit(directory, first, "a")

    assert model_rest_s(directory, first, "a") == 1


def test_a_models_success_that_was_on_its_way_does_not_lift_its_rest(directory, first):
    limit(directory, first, "a", retry_after_s=20)
    directory.note_success(first, "a")

    assert model_rest_s(directory, first, "a") == 20


def test_limits_of_single_models_never_make_the_account_doubtful(directory, clock, first):
    for number in range(10):
        limit(directory, first, f"{number}")
    clock.turn(100)
    directory.begin(first, "b", "official", 0)

    assert standing(directory, first) == "fit"


def test_a_crowd_that_hits_one_models_limit_counts_once(directory, clock, first):
    for _ in range(64):
        limit(directory, first, "a")
    clock.turn(1)
    limit(directory, first, "a")

    assert model_rest_s(directory, first, "a") == 2


def test_names_that_callers_make_up_do_not_pile_up_at_an_account(directory, clock, first):
    for number in range(5000):
        limit(directory, first, f"made-up-{number}")
        clock.turn(2)

    assert len(first.model_rests) < 200
    assert len(first.model_limits) < 200


def test_the_rest_of_a_model_that_others_learned_of_is_taken_over_and_ended(
    directory, clock, first
):
    rest = CoolDown(until=clock.at + 50, reason="upstream_rate_limited")
    directory.take_shared({"acc_1\na": rest})
    began = may_begin(directory, first, "a"), may_begin(directory, first, "b")
    directory.take_shared({})

    assert (began, may_begin(directory, first, "a")) == ((False, True), True)


# ------------------------------------------------------------------------------------ the probe


def doubt(directory, one, clock):
    """Let an account fail until others go first, and wait until that is over."""
    fail(directory, one, DOWN, DOWN, DOWN)
    clock.turn(5.01)


def test_after_a_doubt_one_request_goes_first_and_the_others_wait_for_it(directory, clock, first):
    doubt(directory, first, clock)
    before = standing(directory, first)
    begun = directory.begin(first, "a", "official", 0)

    assert (before, begun, standing(directory, first)) == ("fit", True, "doubtful")


def test_a_probe_that_goes_well_ends_the_doubt(directory, clock, first):
    doubt(directory, first, clock)
    directory.begin(first, "a", "official", 0)
    directory.note_success(first, "a")

    assert standing(directory, first) == "fit"


def test_a_probe_that_fails_doubles_the_doubt_up_to_a_minute(directory, clock, first):
    doubts = []
    fail(directory, first, DOWN, DOWN, DOWN)
    for _ in range(6):
        doubts.append(rest_s(directory, first))
        clock.turn(doubts[-1] + 0.01)
        directory.begin(first, "a", "official", 0)
        fail(directory, first, DOWN)
        directory.end(first, 0)

    assert doubts == [5, 10, 20, 40, 60, 60]


def test_a_probe_whose_caller_went_away_is_followed_by_another_one(directory, clock, first):
    doubt(directory, first, clock)
    directory.begin(first, "a", "official", 0)
    directory.end(first, 0)
    clock.turn(5.01)

    assert standing(directory, first) == "fit"


def test_what_others_say_does_not_end_the_wait_for_a_probe(directory, clock, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    directory.take_shared(shared(directory))
    clock.turn(5.01)
    directory.begin(first, "a", "official", 0)
    directory.take_shared({})

    assert standing(directory, first) == "doubtful"


def test_a_doubt_is_not_made_shorter_by_an_upstream_that_says_when(directory, clock, first):
    fail(directory, first, *[DOWN] * 3)
    fail(directory, first, DOWN, retry_after_s=0.5)

    assert rest_s(directory, first) == 5


# ------------------------------------------------------------------------------------- bounds


async def test_a_thousand_requests_at_once_never_exceed_a_bound(clock):
    accounts = [account(f"{number}", most_in_flight=3) for number in range(5)]
    directory = directory_of(*accounts, clock=clock)
    most: Counter[str] = Counter()
    refused = 0

    async def ask(number):
        nonlocal refused
        one = accounts[number % len(accounts)]
        for _ in range(5):
            if not directory.begin(one, "a", "official", 1):
                refused += 1
                await directory.room(0.001)
                continue
            most[one.id] = max(most[one.id], one.in_flight)
            await asyncio.sleep(0)
            directory.end(one, 0)

    await asyncio.gather(*(ask(number) for number in range(1000)))

    assert set(most.values()) == {3}
    assert refused > 0
    assert [one.in_flight for one in accounts] == [0] * 5


async def test_those_who_wait_longest_are_woken_by_the_first_end(directory, first):
    directory.begin(first, "a", "official", 0)
    waiting = [asyncio.ensure_future(directory.room(30)) for _ in range(100)]
    await asyncio.sleep(0)
    directory.end(first, 0)
    await asyncio.sleep(0.01)

    assert [task.done() for task in waiting] == [True] * 8 + [False] * 92
    directory.wake()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_who_waits_again_keeps_its_place(directory, first):
    directory.begin(first, "a", "official", 0)
    late = [asyncio.ensure_future(directory.room(30, place)) for place in range(100, 108)]
    early = asyncio.ensure_future(directory.room(30, 1.0))
    await asyncio.sleep(0)
    directory.end(first, 0)
    await asyncio.sleep(0.01)

    assert early.done()
    assert [task.done() for task in late] == [True] * 7 + [False]
    directory.wake()
    async with asyncio.timeout(1):
        await asyncio.gather(*late)


async def test_waiting_for_room_ends_by_itself_and_leaves_nothing_behind(directory):
    await directory.room(0.001)

    assert directory._waiting == {}


async def test_whoever_gives_up_waiting_leaves_nothing_behind(directory):
    waiting = asyncio.ensure_future(directory.room(30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert directory._waiting == {}


def test_what_rests_cannot_be_begun(directory, first):
    fail(directory, first, AUTH)

    assert not directory.begin(first, "a", "official", 0)
    assert first.in_flight == 0


# --------------------------------------------------------------------------------------- loads


@pytest.fixture
def bounded():
    return account("acc_1", terms=Terms(rpm=100))


def test_this_process_tells_what_it_has_on_accounts(clock, bounded):
    directory = directory_of(bounded, account("acc_2"), clock=clock)
    directory.begin(bounded, "a", "official", 100)
    directory.begin(directory.accounts[1], "a", "official", 100)

    assert directory.loads() == {
        "acc_1": Load(in_flight=1, minute=0, requests=1, tokens=100),
        "acc_2": Load(in_flight=1, minute=0, requests=0, tokens=0),
    }


def test_an_idle_account_is_told_of_for_the_minute_after_it_was_used(clock, bounded):
    directory = directory_of(bounded, clock=clock)
    directory.begin(bounded, "a", "official", 100)
    directory.end(bounded, 0)
    at_once = directory.loads()
    clock.turn(66)

    assert (set(at_once), directory.loads(), directory._busy) == ({"acc_1"}, {}, set())


def test_an_account_that_was_changed_while_it_was_busy_counts_as_one(directory, first):
    directory.begin(first, "a", "official", 0)
    new = account("acc_1")
    directory.change([new], [])
    directory.begin(new, "a", "official", 0)

    assert directory.loads()["acc_1"].in_flight == 2


def test_loads_of_others_are_taken_over_and_end(directory, first):
    load = Load(in_flight=4, minute=0, requests=0, tokens=0)
    directory.take_loads({"acc_1": load, "acc_9": load})
    there = first.elsewhere.in_flight
    directory.take_loads({})

    assert (there, first.elsewhere.in_flight) == (4, 0)


# --------------------------------------------------------------------- clearing, out of service


def test_a_cleared_account_forgets_all_its_rests_and_tells_others(directory, first):
    fail(directory, first, AUTH)
    limit(directory, first, "a")
    shared(directory)
    directory.clear(first)

    assert shared(directory) == {"acc_1\na": None, "acc_1": None}
    assert (standing(directory, first), may_begin(directory, first, "a")) == ("fit", True)


def test_clearing_one_model_leaves_the_rest(directory, first):
    limit(directory, first, "a")
    limit(directory, first, "b")
    directory.clear(first, "a")

    assert (may_begin(directory, first, "a"), may_begin(directory, first, "b")) == (True, False)


@pytest.mark.parametrize("out", [Status.DISABLED, Status.EXPIRED])
def test_nothing_that_happens_puts_an_account_back_that_is_out_of_service(
    directory, clock, first, out
):
    first.stand(out, "", clock.at)
    fail(directory, first, AUTH, QUOTA, LIMITED, DOWN, DOWN, DOWN, DOWN, retry_after_s=5)
    directory.note_success(first, "a")
    directory.rest(first, clock.at + 1, LIMITED)
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 1, reason="upstream_unavailable")})
    directory.take_shared({})
    clock.turn(1e9)

    assert (standing(directory, first), first.status(clock.at)) == ("rests", out)
    assert not directory.begin(first, "a", "official", 0)


# --------------------------------------------------------------------------------- properties

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "well", AUTH, QUOTA, LIMITED, *SOFT]),
        st.sampled_from(["", "a", "b"]),
        st.floats(0, 20, allow_nan=False),
        st.none() | st.floats(0, 5000),
    ),
    max_size=40,
)


@given(EVENTS)
def test_a_rest_is_never_made_shorter_by_what_was_on_its_way(events):
    """While an account or a model rests, only the operator or another process shortens that."""
    clock = Clock()
    one = account()
    directory, begun = directory_of(one, clock=clock), 0
    for what, model, seconds, asked in events:
        clock.turn(seconds)
        is_resting, until = one.is_resting(clock.at), one.rest_until
        models = {name: rest.until for name, rest in one.model_rests.items()}
        if what == "begin":
            has_begun = directory.begin(one, model, "official", 5)
            assert not (has_begun and is_resting)
            assert not (has_begun and models.get(model, 0) > clock.at)
            begun += has_begun
        elif what == "end" and begun:
            directory.end(one, -5)
            begun -= 1
        elif what == "well":
            directory.note_success(one, model)
        elif what != "end":
            directory.note_failure(one, failure(what, asked), model)
        assert one.in_flight == begun
        if is_resting:
            assert one.is_resting(clock.at)
            assert one.rest_until >= until
        for name, model_until in models.items():
            if model_until > clock.at:
                assert one.model_rests[name].until >= model_until


@given(EVENTS, st.randoms(use_true_random=False))
def test_two_processes_that_share_their_rests_agree(events, dice):
    """Whoever saw what: when all news are told, both know the same rests."""
    clock = Clock()
    state: dict[str, CoolDown] = {}
    both = [directory_of(account(), clock=clock) for _ in range(2)]
    for what, model, seconds, asked in events:
        clock.turn(seconds)
        directory = dice.choice(both)
        one = directory.accounts[0]
        if isinstance(what, ErrorKind):
            directory.note_failure(one, failure(what, asked), model)
        elif what == "well":
            directory.note_success(one, model)
        if dice.random() < 0.5:
            tell(directory, state, clock)
    for _ in range(2):
        for directory in both:
            tell(directory, state, clock)

    assert rests_of(both[0]) == rests_of(both[1])


def tell(directory, state, clock):
    """Tell news and learn others', as a process does each second."""
    for name, rest in shared(directory).items():
        state.pop(name, None)
        if rest is not None:
            state[name] = rest
    for name in [name for name, rest in state.items() if rest.until <= clock.at]:
        del state[name]
    directory.take_shared(dict(state))


def rests_of(directory):
    one, now = directory.accounts[0], directory.now()
    own = (one.rest_until, one.rest_reason) if one.rest_until > now else None
    return own, {name: rest for name, rest in one.model_rests.items() if rest.until > now}
