import random

from hypothesis import given, strategies as st

from groxy.routing.meter import Meter


def test_what_was_used_counts_for_a_minute():
    meter = Meter()
    meter.add(1, 100, 1000.0)

    assert (meter.requests(1000.0), meter.tokens(1000.0)) == (1, 100)
    assert (meter.requests(1060.0), meter.tokens(1060.0)) == (1, 100)
    assert (meter.requests(1066.0), meter.tokens(1066.0)) == (0, 0)


def test_tokens_are_corrected_when_more_is_known():
    meter = Meter()
    meter.add(1, 100, 1000.0)
    meter.add(0, -40, 1001.0)

    assert meter.tokens(1002.0) == 60


def test_a_correction_of_what_is_forgotten_leaves_no_debt():
    meter = Meter()
    meter.add(1, 100, 1000.0)
    meter.add(0, -90, 1100.0)

    assert meter.tokens(1100.0) == 0


def test_after_a_long_silence_nothing_is_left():
    meter = Meter()
    meter.add(5, 500, 1000.0)

    assert meter.requests(10_000_000.0) == 0


def test_a_clock_that_is_set_back_forgets_nothing():
    meter = Meter()
    meter.add(1, 0, 1000.0)
    meter.add(1, 0, 900.0)

    assert meter.requests(900.0) == 2


@given(st.lists(st.floats(0.0, 7.0), min_size=1, max_size=200), st.integers(1, 20))
def test_no_minute_wherever_it_begins_holds_more_than_the_bound(pauses, bound):
    meter, now = Meter(), random.Random(1).uniform(0, 60)
    taken = []
    for pause in pauses:
        now += pause
        if meter.requests(now) < bound:
            meter.add(1, 0, now)
            taken.append(now)

    for begin in taken:
        assert sum(begin <= at < begin + 60.0 for at in taken) <= bound


def test_nearly_all_that_the_bound_allows_can_be_used():
    meter, taken = Meter(), 0
    for step in range(6000):
        now = step * 0.1
        if meter.requests(now) < 600:
            meter.add(1, 0, now)
            taken += 1

    assert taken >= 0.9 * 10 * 600
