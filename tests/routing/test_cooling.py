import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind
from groxy.routing.account import SOFT
from groxy.routing.cooling import CoolingRules
from tests.routing.fleet import AUTH, DOWN, LIMITED, QUOTA, failure

RULES = CoolingRules()


def rests(kind, failures, retry_after_s=None, rules=RULES):
    return rules.rest_s(failure(kind, retry_after_s), failures)


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (AUTH, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (QUOTA, [3600] * 9),
        (LIMITED, [1, 2, 4, 8, 16, 32, 60, 60, 60]),
        (DOWN, [0, 0, 5, 10, 20, 40, 60, 60, 60]),
    ],
)
def test_the_longer_it_lasts_the_longer_the_rest(kind, seconds):
    assert [rests(kind, failures) for failures in range(1, 10)] == seconds


@pytest.mark.parametrize("kind", SOFT)
def test_all_soft_failures_rest_alike(kind):
    assert [rests(kind, failures) for failures in (2, 3, 4)] == [0, 5, 10]


@pytest.mark.parametrize(
    ("kind", "failures", "asked", "seconds"),
    [
        (LIMITED, 1, 17.5, 17.5),
        (LIMITED, 9, 0.2, 0.2),
        (LIMITED, 1, 1e9, 3600),
        (LIMITED, 1, float("inf"), 3600),
        (LIMITED, 2, 0, 2),
        (DOWN, 2, 40, 0),
        (DOWN, 3, 40, 40),
        (AUTH, 1, 4000, 30),
        (QUOTA, 1, 4, 3600),
    ],
)
def test_an_upstream_may_say_how_long_where_it_knows(kind, failures, asked, seconds):
    assert rests(kind, failures, asked) == seconds


def test_rules_are_the_operators():
    rules = CoolingRules(
        limited_s=2, limited_max_s=3, asked_max_s=10, down_s=1, down_max_s=1, down_after=1,
        billing_s=7, confirm_s=4,
    )  # fmt: skip

    assert [rests(LIMITED, times, rules=rules) for times in (1, 2, 3)] == [2, 3, 3]
    assert [rests(DOWN, times, rules=rules) for times in (1, 2)] == [1, 1]
    assert [rests(AUTH, times, rules=rules) for times in (1, 2, 3)] == [4, 8, 10]
    assert (rests(QUOTA, 1, rules=rules), rests(LIMITED, 1, 11, rules)) == (7, 10)


def test_a_first_rest_that_is_longer_than_the_longest_is_obeyed():
    rules = CoolingRules(limited_s=90, limited_max_s=60)

    assert [rests(LIMITED, times, rules=rules) for times in (1, 2)] == [90, 90]


KINDS = st.sampled_from([AUTH, QUOTA, LIMITED, DOWN, ErrorKind.STREAM_BROKEN])


@given(KINDS, st.integers(0, 10**9), st.none() | st.floats(0, allow_nan=False))
def test_no_rest_is_negative_or_endless(kind, failures, asked):
    assert 0 <= rests(kind, failures, asked) <= 3600


@given(KINDS, st.integers(0, 100))
def test_one_failure_more_never_makes_a_rest_shorter(kind, failures):
    assert rests(kind, failures) <= rests(kind, failures + 1)
