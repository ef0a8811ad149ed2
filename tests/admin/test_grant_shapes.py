import pytest
from pydantic import ValidationError

from groxy.admin.grant_shapes import (
    CapsGiven,
    KeyGrantGiven,
    PlanGrantGiven,
    UserTermsGiven,
    told_caps,
    told_rates,
    told_steps,
)
from groxy.core.errors import GroxyError
from groxy.core.grants import Caps, KeyGrant, PlanGrant, Rates, Step, UserGrant
from groxy.core.money import TICKS_PER_USD

KEY = KeyGrant(
    models=("a",), endpoints=("chat",), ips=("10.0.0.0/8",), caps=Caps(day=1), tags=("t",)
)
USER = UserGrant(rates=Rates(requests=1), overdraft=2, alert_below=3, note="n")
PLAN = PlanGrant(
    user_rates=Rates(requests=1),
    models=("a",),
    markup_bp=5,
    basis="list",
    steps=(Step(from_ticks=0, percent=50),),
)


@pytest.mark.parametrize(
    ("shape", "before"),
    [(KeyGrantGiven, KEY), (UserTermsGiven, USER), (PlanGrantGiven, PLAN)],
)
def test_what_is_left_out_stays_as_it_is(shape, before):
    assert shape.model_validate({}).read(before) == before


@pytest.mark.parametrize(
    ("shape", "before", "none"),
    [
        (KeyGrantGiven, KEY, KeyGrant()),
        (PlanGrantGiven, PLAN, PlanGrant()),
        (UserTermsGiven, USER, UserGrant()),
    ],
)
def test_everything_can_be_taken_back(shape, before, none):
    empty = {
        name: field.get_default(call_default_factory=True)
        for name, field in shape.model_fields.items()
    }
    sent = shape.model_validate(shape(**empty).model_dump())

    assert sent.read(before) == none


def test_a_key_stays_for_provisioning():
    assert KeyGrantGiven().read(KeyGrant(is_provisioning=True)).is_provisioning


def test_ticks_go_in_and_come_out_exactly():
    caps = CapsGiven(day="0.0000000001", week=0.1, month=7, total="100000000").read()

    assert caps == Caps(day=1, week=TICKS_PER_USD // 10, month=7 * TICKS_PER_USD, total=10**18)
    assert told_caps(caps).model_dump() == {
        "day": "0.0000000001",
        "week": "0.1",
        "month": "7",
        "total": "100000000",
    }


@pytest.mark.parametrize("trick", [True, -1, 1e309, float("nan"), 2**63, "1e3", "", [], {}])
def test_number_tricks_are_refused(trick):
    with pytest.raises(GroxyError) as caught:
        CapsGiven(day=trick).read()
    assert caught.value.param == "caps.day"
    with pytest.raises(ValidationError):
        PlanGrantGiven.model_validate({"markup_bp": trick if trick != -1 else -10_001})


def test_rates_and_steps_are_told():
    assert told_rates(Rates(tokens=5)).model_dump() == {
        "requests": 0,
        "tokens": 5,
        "concurrency": 0,
    }
    (step,) = told_steps([Step(from_ticks=TICKS_PER_USD // 2, percent=50)])
    assert step.model_dump() == {"from_usd": "0.5", "percent": 50}
