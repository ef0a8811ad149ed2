"""What every request of a caller claims: the same until the caller is another, or the day."""

from dataclasses import replace

from groxy.core.grants import Caps, KeyGrant, Plan, PlanGrant, Rates, UserGrant
from groxy.policy.keys import Caller
from groxy.policy.stakes import StakeBook
from groxy.state.gates import Draw, Scope

NOON_MS = 1_764_158_400_000
"""2025-11-26, 12:00 UTC."""
DAY_MS = 86_400_000


def caller(**more):
    return Caller(key_id="key_1", name="test", **more)


def paying(**more):
    return caller(user_id="usr_1", **more)


def stakes(who, at_ms=NOON_MS):
    return StakeBook().of(who, at_ms)


def test_who_has_no_limits_and_no_purse_claims_nothing():
    free = stakes(caller())
    assert not free.is_bound
    assert (free.draws, free.scopes(), free.purses) == ((), (), frozenset())


def test_a_user_draws_on_a_balance_down_to_the_overdraft():
    own = stakes(paying(user=UserGrant(overdraft=30)))
    assert own.draws == (Draw(purse="user:usr_1", floor=-30),)
    assert (own.is_bound, own.spends, own.scopes()) == (True, (), ())


def test_caps_are_purses_too_and_their_spending_is_counted():
    own = stakes(caller(grant=KeyGrant(caps=Caps(day=5, total=9))))
    assert own.spends == ("spend:key_1:total", "spend:key_1:day:2025-11-26")
    assert [draw.floor for draw in own.draws] == [-9, -5]
    assert own.purses == set(own.spends)
    assert own.until_ms[0] is None
    assert own.until_ms[1] > NOON_MS


def test_of_key_and_plan_the_tighter_limit_of_each_kind_counts():
    grant = KeyGrant(rates=Rates(requests=10, tokens=500))
    plan = Plan(id="pln_1", grant=PlanGrant(key_rates=Rates(requests=7, concurrency=2)))
    own = stakes(caller(grant=grant, plan=plan))
    assert own.scopes() == (Scope(name="key:key_1", requests=7, tokens=500, concurrency=2),)


def test_a_users_own_rates_are_in_place_of_the_plans():
    plan = Plan(id="pln_1", grant=PlanGrant(user_rates=Rates(requests=7), rates=Rates(tokens=99)))
    of_plan = stakes(paying(plan=plan)).scopes()
    own = stakes(paying(plan=plan, user=UserGrant(rates=Rates(requests=70)))).scopes()
    assert [scope.requests for scope in of_plan] == [7, 0]
    assert own == (Scope(name="user:usr_1", requests=70), Scope(name="plan:pln_1", tokens=99))


def test_rates_of_users_bind_nobody_who_is_none():
    assert not stakes(caller(plan=Plan(grant=PlanGrant(user_rates=Rates(requests=7))))).is_bound


def test_limits_that_follow_the_balance_are_scaled_and_never_become_none():
    plan = Plan(id="pln_1", grant=PlanGrant(user_rates=Rates(requests=9), rates=Rates(requests=9)))
    own = stakes(paying(plan=plan))
    assert [scope.requests for scope in own.scopes(200)] == [18, 9]
    assert [scope.requests for scope in own.scopes(1)] == [1, 9]
    assert [scope.requests for scope in own.scopes()] == [9, 9]


def test_they_are_remembered_until_the_caller_is_another():
    book, who = StakeBook(), paying()
    first = book.of(who, NOON_MS)
    assert book.of(who, NOON_MS + DAY_MS) is first, "without caps of days any day is the same"
    changed = replace(who, user=UserGrant(overdraft=1))
    assert book.of(changed, NOON_MS).draws[0].floor == -1
    assert book.of(who, NOON_MS).draws == first.draws


def test_they_are_others_when_the_day_is_another():
    book, who = StakeBook(), caller(grant=KeyGrant(caps=Caps(day=5)))
    assert book.of(who, NOON_MS) is book.of(who, NOON_MS + 1)
    assert book.of(who, NOON_MS + DAY_MS).spends == ("spend:key_1:day:2025-11-27",)
