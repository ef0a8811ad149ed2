import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, PlanGrant, Rates, Step, UserGrant
from groxy.policy.grants import (
    MAX_TICKS,
    checked_key_grant,
    checked_plan_grant,
    checked_user_grant,
)

NO_NUMBERS = [-1, True, 1.5, float("nan"), float("inf"), 1e309, 2**63, "1e3", "5", None]


def refused(check, grant):
    with pytest.raises(GroxyError) as caught:
        check(grant)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert f"`{caught.value.param}`" in caught.value.message
    return caught.value.param


def test_a_grant_comes_back_in_plain_form():
    grant = KeyGrant(
        models=("grok-4*", "grok-4*"),
        endpoints=("chat", "models", "chat"),
        ips=("10.0.0.0/8", " ::1", "::ffff:192.0.2.1", "10.0.0.0/255.0.0.0"),
        caps=Caps(day=0, total=MAX_TICKS),
        rates=Rates(requests=1, tokens=2, concurrency=3),
        tags=("a b", "ü"),
        is_provisioning=True,
    )

    checked = checked_key_grant(grant)

    assert checked.models == ("grok-4*",)
    assert checked.endpoints == ("chat", "models")
    assert checked.ips == ("10.0.0.0/8", "::1/128", "192.0.2.1/32")
    assert (checked.caps, checked.rates, checked.tags) == (grant.caps, grant.rates, grant.tags)
    assert checked_key_grant(checked) == checked


def test_grants_that_bound_nothing_are_fine():
    assert checked_key_grant(KeyGrant()) == KeyGrant()
    assert checked_user_grant(UserGrant()) == UserGrant()
    assert checked_plan_grant(PlanGrant()) == PlanGrant()


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("name", ["requests", "tokens", "concurrency"])
def test_no_number_trick_becomes_a_rate(name, number):
    rates = Rates(**{name: number})

    assert refused(checked_key_grant, KeyGrant(rates=rates)) == f"rates.{name}"
    assert refused(checked_user_grant, UserGrant(rates=rates)) == f"rates.{name}"
    plans = {
        "rates": PlanGrant(rates=rates),
        "user_rates": PlanGrant(user_rates=rates),
        "key_rates": PlanGrant(key_rates=rates),
    }
    for field, plan in plans.items():
        assert refused(checked_plan_grant, plan) == f"{field}.{name}"


@pytest.mark.parametrize("number", [one for one in NO_NUMBERS if one is not None])
def test_no_number_trick_becomes_an_amount(number):
    for name in ("day", "week", "month", "total"):
        grant = KeyGrant(caps=Caps(**{name: number}))
        assert refused(checked_key_grant, grant) == f"caps.{name}"
    for name in ("overdraft", "alert_below"):
        assert refused(checked_user_grant, UserGrant(**{name: number})) == name
    steps = (Step(from_ticks=number, percent=50),)
    assert refused(checked_plan_grant, PlanGrant(steps=steps)) == "steps.from"
    steps = (Step(from_ticks=0, percent=number),)
    assert refused(checked_plan_grant, PlanGrant(steps=steps)) == "steps.percent"


@pytest.mark.parametrize("number", [-10_001, 1_000_001, True, 0.5, "5", float("nan")])
def test_a_mark_up_is_bounded(number):
    assert refused(checked_plan_grant, PlanGrant(markup_bp=number)) == "markup_bp"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("models", ("",)),
        ("models", ("x" * 129,)),
        ("models", ("grok\0",)),
        ("models", (" grok",)),
        ("models", tuple(str(n) for n in range(101))),
        ("endpoints", ("keys",)),
        ("endpoints", ("admin",)),
        ("endpoints", ("Chat",)),
        ("endpoints", ("*",)),
        ("ips", ("*",)),
        ("ips", ("localhost",)),
        ("ips", ("10.0.0.1/8",)),
        ("ips", ("fe80::1%eth0",)),
        ("ips", ("1.2.3.4/33",)),
        ("ips", ("0x7f.1",)),
        ("ips", ("2130706433",)),
        ("ips", ("",)),
        ("ips", tuple(f"10.0.0.{n}" for n in range(101))),
        ("tags", ("",)),
        ("tags", ("x" * 65,)),
        ("tags", tuple(str(n) for n in range(21))),
        ("is_provisioning", 1),
        ("is_provisioning", "true"),
    ],
)
def test_what_is_no_part_of_a_grant_is_refused_and_named(field, value):
    assert refused(checked_key_grant, KeyGrant(**{field: value})) == field


def test_a_plans_other_fields_are_checked():
    assert refused(checked_plan_grant, PlanGrant(basis="guess")) == "basis"
    assert refused(checked_plan_grant, PlanGrant(models=("",))) == "models"
    twice = (Step(from_ticks=1, percent=50), Step(from_ticks=1, percent=60))
    assert refused(checked_plan_grant, PlanGrant(steps=twice)) == "steps"
    many = tuple(Step(from_ticks=n, percent=50) for n in range(21))
    assert refused(checked_plan_grant, PlanGrant(steps=many)) == "steps"
    assert refused(checked_user_grant, UserGrant(note="x" * 2_001)) == "note"


def test_steps_come_lowest_first():
    steps = tuple(Step(from_ticks=n, percent=100) for n in (5, 0, 9))

    sorted_steps = checked_plan_grant(PlanGrant(steps=steps)).steps
    assert [step.from_ticks for step in sorted_steps] == [0, 5, 9]
