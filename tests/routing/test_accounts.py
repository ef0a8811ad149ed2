from itertools import pairwise

import pytest

from groxy.core.errors import ErrorKind, Fault, GroxyError, facts_of
from groxy.routing.accounts import AccountState, Directory
from groxy.state._base import CoolDown
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
    assert directory.unshared == []


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
        (AUTH, 300, AccountState.EXPIRED),
        (QUOTA, 900, AccountState.COOLING),
        (LIMITED, 1, AccountState.COOLING),
    ],
)
def test_what_is_the_accounts_fault_makes_it_rest_at_once(
    directory, clock, first, kind, seconds, state
):
    fail(directory, first, kind)
    began = standing(directory, first), first.state(clock.at)
    clock.turn(seconds - 0.01)
    before_the_end = standing(directory, first)
    clock.turn(0.02)

    assert began == ("rests", state)
    assert before_the_end == "rests"
    assert (standing(directory, first), first.state(clock.at)) == ("fit", AccountState.ACTIVE)


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


def test_a_doubtful_account_whose_key_is_rejected_rests(directory, first):
    fail(directory, first, DOWN, DOWN, DOWN, AUTH)

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 300)


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


@pytest.mark.parametrize("kind", [AUTH, QUOTA])
def test_a_success_proves_that_the_credential_is_good(directory, first, kind):
    fail(directory, first, kind)
    directory.note_success(first)

    assert standing(directory, first) == "fit"


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

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 290)
    assert first.state(clock.at) is AccountState.EXPIRED


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
    expired, cooling = account("a"), account("b")
    directory = directory_of(expired, cooling, account("c"), account("d", pool=BASIC), clock=clock)
    fail(directory, expired, AUTH)
    fail(directory, cooling, LIMITED)

    assert dict(directory.counts()) == {
        ("xai", "heavy", "active"): 1,
        ("xai", "heavy", "cooling"): 1,
        ("xai", "heavy", "expired"): 1,
        ("xai", "basic", "active"): 1,
        ("xai", "basic", "cooling"): 0,
        ("xai", "basic", "expired"): 0,
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
        "acc_1": CoolDown(until=clock.at + 300, reason="upstream_auth_failed")
    }


def test_a_single_broken_connection_is_not_worth_telling(directory, first):
    fail(directory, first, DOWN, DOWN)

    assert shared(directory) == {}


def test_the_end_of_a_rest_is_told_once(directory, first):
    fail(directory, first, DOWN, DOWN, DOWN)
    shared(directory)
    directory.note_success(first)
    directory.note_success(first)

    assert directory.unshared == [("acc_1", None)]


def test_what_others_learned_is_taken_over(directory, clock, first):
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 50, reason="upstream_auth_failed")})

    assert (standing(directory, first), rest_s(directory, first)) == ("rests", 50)
    assert first.state(clock.at) is AccountState.EXPIRED
    assert directory.unshared == []


def test_a_doubt_of_others_is_a_doubt_here(directory, clock, first):
    directory.take_shared({"acc_1": CoolDown(until=clock.at + 5, reason="upstream_unavailable")})

    assert standing(directory, first) == "doubtful"


def test_a_rest_that_others_ended_ends_here(directory, first):
    fail(directory, first, AUTH)
    shared(directory)
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


def test_news_that_is_being_told_is_not_exchanged_on_the_way(directory, first):
    fail(directory, first, AUTH)
    on_its_way = directory.unshared[0]
    directory.note_success(first)
    fail(directory, first, AUTH)

    assert directory.unshared[0] is on_its_way


def test_an_upstream_of_another_maker_counts_like_ours(clock):
    class Foreign(Upstream):
        name = "foreign"

    one = account("a", Foreign())
    directory = directory_of(one, clock=clock)
    directory.note_failure(one, GroxyError(AUTH, "No."))

    assert directory.counts()["foreign", HEAVY.value, "expired"] == 1


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


# --------------------------------------------------------------------------------------- speed


def test_the_first_measure_is_taken_as_it_is(first):
    first.note_speed(first_event_s=0.5, output_tokens=100, duration_s=2.0)

    assert (first.first_event_s, first.tokens_per_s) == (0.5, 50.0)


def test_later_measures_move_the_average(first):
    first.note_speed(first_event_s=1.0, output_tokens=100, duration_s=10.0)
    first.note_speed(first_event_s=2.0, output_tokens=200, duration_s=10.0)

    assert (first.first_event_s, first.tokens_per_s) == pytest.approx((1.2, 12.0))


def test_a_reply_that_came_whole_tells_nothing_of_its_first_event(first):
    first.note_speed(first_event_s=2.0, output_tokens=100, duration_s=2.0)

    assert (first.first_event_s, first.tokens_per_s) == (0.0, 50.0)


def test_a_short_reply_tells_nothing_of_the_pace(first):
    first.note_speed(first_event_s=0.1, output_tokens=3, duration_s=1.0)

    assert (first.first_event_s, first.tokens_per_s) == (0.1, 0.0)


@pytest.mark.parametrize(("first_event_s", "duration_s"), [(-5.0, 0.0), (0.0, 0.0), (-1.0, -2.0)])
def test_times_that_cannot_be_are_passed_over(first, first_event_s, duration_s):
    first.note_speed(first_event_s=first_event_s, output_tokens=100, duration_s=duration_s)

    assert (first.first_event_s, first.tokens_per_s) == (0.0, 0.0)
