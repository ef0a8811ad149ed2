import re

import pytest

from groxy.cli import plan, user
from groxy.core.errors import GroxyError
from tests.cli.told import refusal, told

pytestmark = pytest.mark.usefixtures("groxy")


def new_user(*more, stdin=""):
    return told(user.app, "create", "--name", "Ada", *more, stdin=stdin)


def test_a_user_is_made_listed_and_shown():
    user_id = new_user(
        *("--email", "Ada@example.com", "--rpm", "5", "--overdraft", "12.5"),
        *("--alert-below", "0.05", "--note", "pays later"),
    )

    assert re.fullmatch(r"usr_[0-9a-f]{24}", user_id)
    assert "ada@example.com" in told(user.app, "list")
    assert user_id in told(user.app, "list", "--search", "EXAMPLE")
    assert user_id not in told(user.app, "list", "--search", "bob")
    shown = told(user.app, "show", "ADA@example.com")
    for word in (user_id, "5 requests/min", "12.5", "0.05", "pays later", "none", "default"):
        assert word in shown


def test_a_password_is_read_and_never_shown():
    user_id = new_user("--password", stdin="correct horse\n")
    assert "set" in told(user.app, "show", user_id)
    changed = told(user.app, "set-password", user_id, stdin="battery staple\n")

    assert "battery" not in changed
    assert refusal(user.app, "set-password", user_id, stdin="short\n").param == "password"
    assert refusal(user.app, "set-password", user_id, stdin="").param == "password"


def test_a_user_is_disabled_and_enabled():
    user_id = new_user()
    told(user.app, "disable", user_id)
    assert "disabled" in told(user.app, "show", user_id)
    told(user.app, "enable", user_id)
    assert "active" in told(user.app, "show", user_id)


def test_a_user_gets_a_plan_by_its_name_and_loses_it():
    plan_id = told(plan.app, "create", "pro")
    user_id = new_user("--plan", "pro")
    assert plan_id in told(user.app, "show", user_id)
    told(user.app, "set-plan", user_id, "")
    assert "default" in told(user.app, "show", user_id)
    told(user.app, "set-plan", user_id, plan_id)
    assert plan_id in told(user.app, "show", user_id)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (("--overdraft", "NaN"), "--overdraft"),
        (("--overdraft", "1e3"), "--overdraft"),
        (("--overdraft", "-1"), "--overdraft"),
        (("--alert-below", "Infinity"), "--alert-below"),
        (("--rpm", "-1"), "rates.requests"),
        (("--rpm", str(2**63)), "rates.requests"),
        (("--email", "nobody"), "email"),
    ],
)
def test_what_cannot_be_is_refused_and_named(options, param):
    error = refusal(user.app, "create", "--name", "Ada", *options)

    assert isinstance(error, GroxyError)
    assert error.param == param
    assert "usr_" not in told(user.app, "list")


@pytest.mark.parametrize("named", ["usr_none", "nobody@example.com"])
def test_who_is_not_there_is_not_found(named):
    for command in ("show", "disable", "enable"):
        assert refusal(user.app, command, named).code == "user_not_found"


def test_rates_that_are_left_out_are_the_plans():
    assert "the plan's" in told(user.app, "show", new_user())
