from collections import deque
from math import inf
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.core.terms import Terms
from groxy.routing.account import SOFT, Rest, Status
from groxy.routing.accounts import Directory
from groxy.state._base import Load
from groxy.upstreams._base import Credentials
from groxy.upstreams._limits import RateFacts, RateWindow
from tests.routing.fleet import AUTH, LIMITED, QUOTA, Clock, account, directory_of, listing

NOW = 1_000_020.0
"""A third of a minute after a full one."""
MODEL, MODE = "grok-4.3", "official"


@pytest.fixture
def first():
    return account()


def window(remaining=10, total=10, window_s=60, **changes):
    return QuotaWindow(remaining=remaining, total=total, window_s=window_s, **changes)


def bound(one, now=NOW, model=MODEL, mode=MODE):
    return one.bound_reached(model, mode, now)


def told(remaining, limit=100, reset_s=None):
    return RateFacts(requests=RateWindow(limit=limit, remaining=remaining, reset_s=reset_s))


# -------------------------------------------------------------------------------- how it stands


def test_an_account_is_active_at_first(first):
    assert first.status(NOW) is Status.ACTIVE
    assert not first.is_resting(NOW)
    assert not first.is_doubtful(NOW)


@pytest.mark.parametrize(("reason", "rests"), [(LIMITED, True), (SOFT[0], False)])
def test_a_rest_ends_at_its_time_and_not_later(first, reason, rests):
    first.rest_until, first.rest_reason = NOW, reason

    assert first.is_resting(NOW - 0.001) is rests
    assert first.is_doubtful(NOW - 0.001) is not rests
    assert first.status(NOW - 0.001) is Status.COOLING
    assert first.status(NOW) is Status.ACTIVE


@pytest.mark.parametrize("standing", [Status.DISABLED, Status.EXPIRED])
def test_what_lasts_never_runs_out(first, standing):
    first.stand(standing, "why", NOW)

    assert first.status(NOW + 1e12) is standing
    assert first.is_resting(NOW + 1e12)
    assert not first.is_doubtful(NOW)
    assert (first.standing_reason, first.standing_since) == ("why", NOW)


@pytest.mark.parametrize("standing", [Status.DISABLED, Status.EXPIRED, Status.COOLING])
def test_an_account_that_becomes_active_again_begins_anew(first, standing):
    first.failures, first.rejections = 5, 2
    first.model_rests[MODEL] = Rest(NOW + 60, LIMITED)
    first.rest_until, first.rest_reason = NOW + 60, QUOTA
    first.stand(standing, "why", NOW)
    first.stand(Status.ACTIVE, "", NOW + 1)

    assert (first.failures, first.rejections, first.model_rests) == (0, 0, {})
    assert not first.is_resting(NOW + 1)


def test_an_active_account_that_is_said_to_be_active_keeps_its_rest(first):
    first.rest_until, first.rest_reason = NOW + 60, LIMITED
    first.stand(Status.ACTIVE, "", NOW)

    assert first.is_resting(NOW)


def test_a_credential_does_not_show_when_an_account_is_printed():
    one = account(proxy_url="http://user:secret@proxy")

    assert "xai-key" not in repr(one)
    assert "secret" not in repr(one)


# ------------------------------------------------------------------------------------- bounds


def test_an_account_without_bounds_need_not_be_looked_at(first):
    assert not first.is_bounded
    assert bound(first) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"most_in_flight": 1},
        {"terms": Terms(rpm=1)},
        {"terms": Terms(tpm=1)},
        {"windows": {MODE: window()}},
        {"model_rests": {MODEL: Rest(NOW, LIMITED)}},
    ],
)
def test_an_account_with_bounds_is_looked_at(changes):
    assert account(**changes).is_bounded


@pytest.mark.parametrize(("here", "elsewhere", "reached"), [(1, 1, ""), (2, 1, "in_flight")])
def test_requests_of_all_processes_count(here, elsewhere, reached):
    one = account(most_in_flight=3, in_flight=here)
    one.elsewhere = Load(in_flight=elsewhere, minute=0, requests=0, tokens=0)

    assert bound(one) == reached


def test_only_the_model_that_is_limited_rests(first):
    first.model_rests[MODEL] = Rest(NOW + 5, LIMITED)

    assert bound(first) == "model_cooling"
    assert bound(first, model="grok-5") == ""
    assert bound(first, now=NOW + 5) == ""


def test_requests_of_the_last_minute_are_bounded():
    one = account(terms=Terms(rpm=3))
    for _ in range(3):
        assert bound(one, NOW) == ""
        one.begin(MODE, 0, NOW)

    assert bound(one, NOW + 1) == "rpm"
    assert bound(one, NOW + 59.9) == "rpm"
    assert bound(one, NOW + 66) == ""


def test_tokens_in_a_minute_are_bounded_and_corrected_at_the_end():
    one = account(terms=Terms(tpm=1000))
    one.begin(MODE, 1000, NOW)
    before = bound(one)
    one.end(-900, NOW)

    assert (before, bound(one), one.tokens_lately(NOW)) == ("tpm", "", 100)


def test_what_others_sent_counts_too():
    one = account(terms=Terms(rpm=3, tpm=100))
    one.elsewhere = Load(in_flight=0, minute=0, requests=3, tokens=0)
    by_requests = bound(one)
    one.elsewhere = Load(in_flight=0, minute=0, requests=0, tokens=100)

    assert (by_requests, bound(one)) == ("rpm", "tpm")


def test_what_is_not_bounded_is_not_counted(first):
    first.begin(MODE, 10, NOW)

    assert first.meter is None
    assert first.load(NOW) == Load(in_flight=1, minute=0, requests=0, tokens=0)


def test_the_first_bound_that_is_reached_is_named():
    one = account(terms=Terms(rpm=1, tpm=1), most_in_flight=1)
    one.begin(MODE, 1, NOW)

    assert bound(one) == "in_flight"
    one.in_flight = 0
    assert bound(one) == "rpm"


def test_a_clock_that_goes_back_loses_nothing():
    one = account(terms=Terms(rpm=1))
    one.begin(MODE, 10, NOW)
    one.end(0, NOW - 3600)

    assert one.load(NOW - 3600) == Load(in_flight=0, minute=0, requests=1, tokens=10)


# ------------------------------------------------------------------------------------- windows


def test_a_window_begins_with_its_first_request_and_is_full_again_at_its_end():
    one = account(windows={MODE: window(remaining=2, total=2, window_s=60)})
    one.begin(MODE, 0, NOW)
    one.begin(MODE, 0, NOW + 30)

    assert bound(one, NOW + 59) == "quota"
    assert one.free_at(MODEL, MODE, NOW + 59) == NOW + 60
    assert bound(one, NOW + 60) == ""
    assert one.windows[MODE].remaining == 2


def test_requests_that_began_together_do_not_take_more_than_is_left():
    one = account(windows={MODE: window(remaining=1, total=2)})
    for _ in range(3):
        one.begin(MODE, 0, NOW)

    assert one.windows[MODE].remaining == 0


def test_a_window_counts_requests_of_its_mode_only():
    one = account(windows={"fast": window(remaining=1, total=1)})
    one.begin(MODE, 0, NOW)
    before = bound(one, mode="fast")
    one.begin("fast", 0, NOW)

    assert (before, bound(one, mode="fast"), bound(one)) == ("", "quota", "")


def test_where_a_window_comes_from_is_known():
    one = account(windows={MODE: window()})
    sources = [one.windows[MODE].source]
    one.begin(MODE, 0, NOW)
    sources.append(one.windows[MODE].source)
    one.note_rates(MODE, told(5, reset_s=10), NOW)
    sources.append(one.windows[MODE].source)
    bound(one, now=NOW + 10)
    sources.append(one.windows[MODE].source)

    assert sources == [
        QuotaSource.DEFAULT,
        QuotaSource.ESTIMATED,
        QuotaSource.REAL,
        QuotaSource.ESTIMATED,
    ]


def test_what_an_upstream_tells_is_believed_until_it_says_so_itself(first):
    first.note_rates(MODE, told(0, reset_s=17), NOW)

    assert first.is_bounded
    assert bound(first, NOW + 16.9) == "quota"
    assert bound(first, NOW + 17) == ""


def test_an_upstream_that_tells_no_time_is_asked_again_after_a_minute(first):
    first.note_rates(MODE, told(0), NOW)

    assert bound(first, NOW + 59) == "quota"
    assert bound(first, NOW + 60) == ""


def test_an_account_is_never_lost_when_its_upstream_stops_telling(first):
    first.note_rates(MODE, told(3, limit=3, reset_s=1), NOW)
    for _ in range(10):
        first.begin(MODE, 0, NOW + 2)

    assert bound(first, NOW + 10) == ""


def test_a_window_that_the_operator_laid_down_is_not_overwritten():
    one = account(windows={MODE: window(remaining=7)}, declared=frozenset({MODE}))
    one.note_rates(MODE, told(0), NOW)

    assert one.windows[MODE].remaining == 7


def test_limits_of_tokens_alone_say_nothing_of_requests(first):
    facts = RateFacts(tokens=RateWindow(limit=10, remaining=0))
    first.note_rates(MODE, facts, NOW)

    assert first.windows == {}


@pytest.mark.parametrize(
    ("changes", "free_s"),
    [
        ({}, 0),
        ({"rest_until": NOW + 3}, 3),
        ({"rest_until": NOW - 3}, 0),
        ({"model_rests": {MODEL: Rest(NOW + 9, LIMITED)}, "rest_until": NOW + 3}, 9),
        ({"model_rests": {"other": Rest(NOW + 9, LIMITED)}}, 0),
        ({"windows": {MODE: window(remaining=0, reset_at=NOW + 4)}}, 4),
        ({"windows": {MODE: window(remaining=1, reset_at=NOW + 4)}}, 0),
        ({"rest_until": inf}, inf),
    ],
)
def test_when_an_account_is_free_again_is_known(changes, free_s):
    assert account(**changes).free_at(MODEL, MODE, NOW) == NOW + free_s


# ------------------------------------------------------------------------------------- badness


WORSE = {
    "in flight": {"in_flight": 1},
    "in flight elsewhere": {"elsewhere": Load(in_flight=1, minute=0, requests=0, tokens=0)},
    "health": {"health": 0.5},
    "price": {"price_ratio": 1.5},
    "latency": {"first_event_s": 3.0},
    "quota": {"windows": {MODE: window(remaining=5)}},
}


@pytest.mark.parametrize("changes", WORSE.values(), ids=WORSE)
def test_whatever_speaks_against_an_account_makes_it_a_worse_choice(first, changes):
    assert account(**changes).badness(MODE, NOW) > first.badness(MODE, NOW)


def test_weight_makes_an_account_a_better_choice(first):
    heavy = account(terms=Terms(weight=2), in_flight=1)

    assert heavy.badness(MODE, NOW) == first.badness(MODE, NOW)


def test_a_window_that_is_full_again_counts_as_full():
    one = account(windows={MODE: window(remaining=0, reset_at=NOW)})

    assert one.badness(MODE, NOW) == 1.0


@pytest.mark.parametrize("total", [0, -5])
def test_a_window_of_nothing_is_no_crash(total):
    one = account(windows={MODE: window(remaining=0, total=total)})

    assert one.badness(MODE, NOW) == 1.0


def test_health_falls_fast_comes_back_slowly_and_never_goes(first):
    for _ in range(50):
        first.note_health(went_well=False)
    lowest = first.health
    first.note_health(went_well=True)
    after_one = first.health
    for _ in range(100):
        first.note_health(went_well=True)

    assert 0 < lowest < after_one < 0.5
    assert first.health == pytest.approx(1.0, abs=0.001)
    assert first.handicap == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(
    ("billed", "catalog", "ratio"),
    [(50, 100, 0.5), (1, 10**9, 0.1), (10**18, 1, 10.0), (0, 100, 1.0), (100, 0, 1.0)],
)
def test_what_is_billed_is_compared_within_bounds(first, billed, catalog, ratio):
    for _ in range(100):
        first.note_price(billed, catalog)

    assert first.price_ratio == pytest.approx(ratio)


# ------------------------------------------------------------------------- what is laid down anew


def test_an_account_that_is_described_anew_keeps_what_was_learned():
    one = account(in_flight=3, health=0.5, **listing("a"))
    one.rest_until, one.rest_reason = NOW + 60, LIMITED
    one.become(account(name="new", terms=Terms(weight=2), most_in_flight=4))

    assert (one.name, one.terms.weight, one.most_in_flight) == ("new", 2, 4)
    assert (one.in_flight, one.health, one.models) == (3, 0.5, frozenset({"a"}))
    assert one.is_resting(NOW)
    assert one.is_bounded


def test_another_credential_begins_anew_but_for_what_the_operator_did():
    other = account(credentials=Credentials(api_key="xai-other"))
    rests, disabled = (account(checked_at=5.0, **listing("a")) for _ in range(2))
    rests.rest_until, rests.rest_reason = NOW + 60, AUTH
    disabled.stand(Status.DISABLED, "operator_disabled", NOW)
    for one in (rests, disabled):
        one.become(other)

    assert (rests.models, rests.checked_at, rests.status(NOW)) == (None, 0.0, Status.ACTIVE)
    assert disabled.status(NOW) is Status.DISABLED
    assert disabled.is_resting(NOW)


def test_a_change_of_other_terms_does_not_fill_a_window_again():
    declared: dict[str, Any] = {"declared": frozenset({"fast"})}
    one = account(windows={"fast": window(remaining=2)}, **declared)
    one.become(account(windows={"fast": window()}, terms=Terms(weight=2), **declared))

    assert one.windows["fast"].remaining == 2


def test_a_window_that_is_laid_down_anew_counts_from_its_beginning():
    declared: dict[str, Any] = {"declared": frozenset({"fast"})}
    changed, told_before = (account(windows={"fast": window(remaining=2)}) for _ in range(2))
    changed.declared = frozenset({"fast"})
    for one in (changed, told_before):
        one.become(account(windows={"fast": window(20, 20)}, **declared))

        assert (one.windows["fast"].remaining, one.declared) == (20, frozenset({"fast"}))


def test_a_window_that_is_laid_down_no_more_is_gone():
    one = account(windows={"fast": window(0), "slow": window(1)}, declared=frozenset({"fast"}))
    one.become(account())

    assert (set(one.windows), one.declared) == ({"slow"}, frozenset())


# --------------------------------------------------------------------------------- properties

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "told", "look"]),
        st.floats(0, 100, allow_nan=False),
        st.integers(0, 500),
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 5), st.sampled_from([0, 1, 60, 90]))
def test_no_count_ever_goes_below_nothing(steps, total, window_s):
    """Whatever is begun and ended, whenever, and whatever the upstream tells meanwhile."""
    clock = Clock(NOW)
    open_requests: deque[int] = deque()
    terms = Terms(rpm=4, tpm=900)
    one = account(
        most_in_flight=3, terms=terms, windows={MODE: window(total, total, window_s=window_s)}
    )
    directory = directory_of(one, clock=clock)
    for what, seconds, number in steps:
        clock.turn(seconds)
        if what == "begin":
            may = not one.bound_reached(MODEL, MODE, clock.at)
            assert directory.begin(one, MODEL, MODE, number) is may
            open_requests += [number] * may
        elif what == "end" and open_requests:
            directory.end(one, number - 2 * open_requests.popleft())
        elif what == "told":
            one.note_rates(MODE, told(number % 4, limit=3, reset_s=seconds), clock.at)
        load = one.load(clock.at)
        assert one.in_flight == len(open_requests) <= 3
        assert min(load.in_flight, load.requests, load.tokens) >= 0
        assert one.windows[MODE].remaining >= 0
        assert one.badness(MODE, clock.at) > 0


@given(st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200), st.integers(1, 10))
def test_in_no_minute_are_there_more_requests_than_the_bound(pauses, rpm):
    clock = Clock(NOW)
    times: deque[float] = deque()
    one = account(terms=Terms(rpm=rpm))
    directory = Directory(clock)
    for pause in pauses:
        clock.turn(pause)
        if directory.begin(one, MODEL, MODE, 0):
            times.append(clock.at)
        while times and times[0] <= clock.at - 60:
            times.popleft()
        assert len(times) <= rpm


def test_a_rejected_credential_that_expired_has_its_reason(first):
    first.stand(Status.EXPIRED, "credential_rejected", NOW)

    assert first.rest_reason is AUTH


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


def test_what_makes_an_account_look_bad_is_forgotten_with_time_as_nobody_would_ask_it_again(first):
    first.note_speed(first_event_s=60.0, output_tokens=100, duration_s=90.0)
    for _ in range(10):
        first.note_health(went_well=False)
    worst = first.badness("official", NOW)
    first.badness("official", NOW + 15)
    assert first.first_event_s == pytest.approx(30.0)
    assert first.badness("official", NOW + 15) < worst / 10
    first.badness("official", NOW + 600)
    assert first.health == 1.0
    assert first.badness("official", NOW + 600) == pytest.approx(1.0, abs=0.01)


def test_a_failure_is_news_and_not_forgotten_for_the_time_before_it(first):
    first.note_health(went_well=False)
    first.badness("official", NOW)
    first.note_health(went_well=False)
    health = first.health
    first.badness("official", NOW + 1000)
    assert first.health == health
