import pytest

from groxy.cli import plan, user
from groxy.cli.plan import percent_text, read_percent
from groxy.core.errors import GroxyError
from tests.cli.told import refusal, told

pytestmark = pytest.mark.usefixtures("groxy")


def test_a_plan_is_made_and_listed():
    plan_id = told(
        plan.app,
        *("create", "pro", "--user-rates", "60,100000,4", "--key-rates", "30", "--default"),
        *("--plan-rates", ",,9", "--model", "grok-4*", "--markup", "12.5", "--basis", "list"),
        *("--step", "100=200", "--step", "0=50"),
    )
    listed = told(plan.app, "list")

    for word in (
        plan_id,
        "60 requests/min, 100000 tokens/min, 4 at once",
        "30 requests/min",
        "9 at once",
        "grok-4*",
        "+12.5 % of the list",
        "0=50, 100=200",
        "yes",
    ):
        assert word in listed


def test_another_plan_becomes_the_default_one_and_one_that_is_in_use_stays():
    first = told(plan.app, "create", "free", "--default")
    second = told(plan.app, "create", "pro")
    told(user.app, "create", "--name", "Ada")
    assert refusal(plan.app, "delete", "free").code == "plan_in_use"

    told(plan.app, "set-default", "pro")
    told(plan.app, "delete", first)
    assert refusal(plan.app, "delete", "pro").code == "plan_in_use"
    assert second in told(plan.app, "list")
    assert refusal(plan.app, "set-default", "free").code == "plan_not_found"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (("--user-rates", "-1"), "--user-rates"),
        (("--user-rates", "1,2,3,4"), "--user-rates"),
        (("--key-rates", "1e3"), "--key-rates"),
        (("--plan-rates", "0" * 30 + "5"), "--plan-rates"),
        (("--plan-rates", str(2**59)), "rates.requests"),
        (("--markup", "NaN"), "--markup"),
        (("--markup", "1e3"), "--markup"),
        (("--markup", "-100.01"), "markup_bp"),
        (("--basis", "guess"), "basis"),
        (("--step", "100"), "--step"),
        (("--step", "-1=5"), "--step"),
        (("--step", "1=-5"), "--step"),
        (("--step", "1=0"), "steps.percent"),
        (("--model", ""), "models"),
    ],
)
def test_what_cannot_be_is_refused_and_named(options, param):
    error = refusal(plan.app, "create", "pro", *options)

    assert isinstance(error, GroxyError)
    assert error.param == param
    assert "plan_" not in told(plan.app, "list")


@pytest.mark.parametrize(
    ("text", "markup_bp", "shown"),
    [("20", 2_000, "+20"), ("12.5", 1_250, "+12.5"), ("-5", -500, "-5"), ("0.01", 1, "+0.01")],
)
def test_percentages_are_exact(text, markup_bp, shown):
    assert read_percent(text, "--markup") == markup_bp
    assert percent_text(markup_bp) == shown
