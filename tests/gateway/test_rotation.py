import pytest

from groxy.core.errors import ErrorKind, GroxyError, NextStep, facts_of
from groxy.gateway.rotation import Rotation

DOWN = GroxyError(ErrorKind.UPSTREAM_DOWN, "It is down.")
LIMITED = GroxyError(ErrorKind.UPSTREAM_LIMITED, "Too many.")
BAD = GroxyError(ErrorKind.BAD_REQUEST, "It is wrong.")


@pytest.mark.parametrize("kind", ErrorKind)
def test_by_itself_the_kind_of_an_error_says_whether_another_account_may_try(kind):
    may = Rotation().may_try_another(GroxyError(kind, "It failed."), 0)

    assert may == (facts_of(kind).next_step is NextStep.OTHER_ACCOUNT)


def test_a_status_that_the_operator_added_lets_another_account_try():
    assert Rotation(also_on=frozenset({400})).may_try_another(BAD, 400)
    assert not Rotation(also_on=frozenset({400})).may_try_another(BAD, 422)


def test_a_status_that_the_operator_excluded_lets_nobody_else_try():
    rotation = Rotation(never_on=frozenset({500}))

    assert not rotation.may_try_another(DOWN, 500)
    assert rotation.may_try_another(DOWN, 503)


def test_what_an_account_lacks_another_is_asked_for_at_once():
    assert Rotation(backoff_s=1.0).pause_s(LIMITED, 3) == 0.0


def test_an_upstream_in_trouble_is_given_more_time_with_each_failure_up_to_a_bound():
    rotation = Rotation(backoff_s=0.1, backoff_max_s=0.4)
    longest = [
        max(rotation.pause_s(DOWN, failures) for _ in range(2000)) for failures in (1, 2, 3, 9, 999)
    ]

    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4], rel=0.05)


def test_pauses_differ_so_that_not_all_who_wait_come_back_at_once():
    rotation = Rotation(backoff_s=0.1)

    assert len({rotation.pause_s(DOWN, 1) for _ in range(50)}) > 40


def test_without_backoff_nobody_waits():
    assert Rotation(backoff_s=0.0).pause_s(DOWN, 5) == 0.0
