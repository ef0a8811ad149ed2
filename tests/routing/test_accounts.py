import pytest

from groxy.core.errors import ErrorKind
from groxy.routing.accounts import AccountState
from groxy.state._base import CoolDown
from tests.routing.crew import Clock, account, directory_of, error


@pytest.mark.parametrize(
    "kind",
    [ErrorKind.BAD_REQUEST, ErrorKind.REFUSED, ErrorKind.CONTEXT_TOO_LONG, ErrorKind.CANCELLED],
)
def test_what_the_caller_did_wrong_never_counts(kind):
    one = account("one")
    directory = directory_of(one)
    for _ in range(10):
        directory.note_failure(one, error(kind))

    assert (one.failures, one.state(directory.now())) == (0, AccountState.ACTIVE)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (ErrorKind.UPSTREAM_AUTH, AccountState.EXPIRED),
        (ErrorKind.UPSTREAM_QUOTA, AccountState.COOLING),
        (ErrorKind.UPSTREAM_LIMITED, AccountState.COOLING),
    ],
)
def test_what_is_wrong_with_an_account_lets_it_rest_at_once(kind, state):
    one = account("one")
    directory = directory_of(one)
    directory.note_failure(one, error(kind))

    assert one.state(directory.now()) is state
    assert one.is_resting(directory.now())


def test_a_rate_limit_rests_as_long_as_the_upstream_asks():
    clock, one = Clock(), account("one")
    directory = directory_of(one, clock=clock)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_LIMITED, wait_s=20))

    clock.now += 19
    assert one.is_resting(clock.now)
    clock.now += 2
    assert not one.is_resting(clock.now)


def test_a_wait_that_makes_no_sense_is_bounded():
    clock, one = Clock(), account("one")
    directory = directory_of(one, clock=clock)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_LIMITED, wait_s=10**7))

    assert one.rest_until <= clock.now + 3600


def test_without_a_word_from_the_upstream_rests_grow_up_to_a_minute():
    clock, one = Clock(), account("one")
    directory = directory_of(one, clock=clock)
    rests = []
    for _ in range(10):
        directory.note_failure(one, error(ErrorKind.UPSTREAM_LIMITED))
        rests.append(one.rest_until - clock.now)
        clock.now = one.rest_until + 1

    assert rests[:4] == [1, 2, 4, 8]
    assert rests[-1] == 60


def test_one_broken_connection_says_nothing_three_make_it_doubtful():
    one = account("one")
    directory = directory_of(one)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_DOWN))
    directory.note_failure(one, error(ErrorKind.UPSTREAM_DOWN))
    assert not one.is_doubtful(directory.now())

    directory.note_failure(one, error(ErrorKind.UPSTREAM_DOWN))

    assert one.is_doubtful(directory.now())
    assert not one.is_resting(directory.now())


def test_a_success_makes_failures_forgotten():
    one = account("one")
    directory = directory_of(one)
    for _ in range(3):
        directory.note_failure(one, error(ErrorKind.UPSTREAM_DOWN))
    directory.note_success(one)

    assert (one.failures, one.is_doubtful(directory.now())) == (0, False)


def test_a_success_of_an_older_request_does_not_lift_a_limit():
    one = account("one")
    directory = directory_of(one)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_LIMITED, wait_s=20))
    directory.note_success(one)

    assert one.is_resting(directory.now())


def test_an_account_that_stays_keeps_its_state_when_others_change():
    one = account("one")
    directory = directory_of(one)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_QUOTA))
    gone = directory.replace([account("one"), account("two")])

    assert gone == []
    assert directory.accounts[0].is_resting(directory.now())


def test_accounts_that_go_are_handed_back_for_closing():
    one, two = account("one"), account("two")
    directory = directory_of(one, two)

    assert directory.replace([account("two")]) == [one]


def test_the_generation_grows_when_a_model_list_changes_and_only_then():
    one = account("one")
    directory = directory_of(one)
    before = directory.generation
    directory.set_models(one, frozenset({"a"}))
    directory.set_models(one, frozenset({"a"}))

    assert directory.generation == before + 1


def test_rests_that_other_processes_report_are_taken_over():
    one = account("one")
    directory = directory_of(one)
    until = directory.now() + 50
    directory.take_shared({"one": CoolDown(until=until, reason="upstream_quota_exhausted")})

    assert one.is_resting(directory.now())
    directory.take_shared({})
    assert not one.is_resting(directory.now())


def test_news_of_our_own_that_nobody_knows_yet_is_not_overwritten():
    one = account("one")
    directory = directory_of(one)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_QUOTA))
    directory.take_shared({})

    assert one.is_resting(directory.now())


def test_a_reason_that_only_a_newer_groxy_knows_does_no_harm():
    one = account("one")
    directory = directory_of(one)
    until = directory.now() + 50
    directory.take_shared({"one": CoolDown(until=until, reason="something_new")})

    assert one.is_doubtful(directory.now())


def test_states_are_counted():
    directory = directory_of(account("one"), account("two"))
    directory.note_failure(directory.accounts[0], error(ErrorKind.UPSTREAM_AUTH))
    counts = directory.counts()

    assert counts["xai", "heavy", "expired"] == 1
    assert counts["xai", "heavy", "active"] == 1


def test_the_sandbox_never_rests():
    one = account("one", upstream="sandbox")
    directory = directory_of(one)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_AUTH))

    assert one.state(directory.now()) is AccountState.ACTIVE
