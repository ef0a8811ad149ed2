import pytest
from hypothesis import given, strategies as st

from groxy.admin.price_preview import MAX_USERS, Plans, drift_of, preview_of
from groxy.core.amounts import usd_text
from groxy.core.grants import PlanGrant
from groxy.core.money import TICKS_PER_USD, Price, TokenPrice, cost_of
from groxy.core.usage import Usage
from groxy.ledger.prices import PriceBook, charge_of
from groxy.store.plans import StoredPlan
from groxy.store.price_checks import Billed, Used

USD = TICKS_PER_USD
PRICE = Price(base=TokenPrice(input=2 * USD, cached_input=USD, output=6 * USD))
BOOK = PriceBook(lambda name: (None, None), lambda name: (name.removeprefix("x-ai/"),))


def plan(plan_id="plan_1", *, is_default=False, **grant):
    return StoredPlan(
        id=plan_id,
        name=f"name of {plan_id}",
        grant=PlanGrant(**grant),
        is_default=is_default,
        created_ms=0,
    )


def used(**changes):
    row = Used("user_1", "", "key_1", False, False, 1, 1_000_000, 0, 0, 0, USD, USD)
    return row._replace(**changes)


def would(rows, *plans, price=PRICE):
    told = preview_of(rows, price, Plans(plans), model="grok", days=30)
    return told.would_charge_usd


def test_a_user_without_a_plan_has_the_default_one():
    assert would([used()], plan(markup_bp=5_000, is_default=True)) == "3"


def test_a_users_own_plan_counts_before_the_default_one():
    plans = (plan("plan_1", markup_bp=5_000, is_default=True), plan("plan_2", markup_bp=10_000))

    assert would([used(plan_id="plan_2")], *plans) == "4"


def test_a_key_of_nobody_has_no_plan():
    assert would([used(user_id="")], plan(markup_bp=5_000, is_default=True)) == "2"


def test_a_key_of_nobody_that_pays_nothing_goes_on_to_pay_nothing():
    assert would([used(user_id="", charge_ticks=0)]) == "0"


@pytest.mark.parametrize(("basis", "usd"), [("bill", "1"), ("list", "2")])
def test_a_bill_decides_unless_the_plan_goes_by_the_list(basis, usd):
    assert would([used(is_billed=True)], plan(basis=basis, is_default=True)) == usd


def test_only_the_most_affected_users_are_named():
    rows = [used(user_id=f"user_{n}", requests=n, input_tokens=n) for n in range(1, MAX_USERS + 9)]

    told = preview_of(rows, PRICE, Plans(()), model="grok", days=30)

    assert len(told.users) == MAX_USERS
    assert told.users[0].user_id == "user_1"  # paid most too much
    assert told.requests == sum(range(1, MAX_USERS + 9))


def test_nothing_used_is_nothing_changed():
    told = preview_of([], PRICE, Plans(()), model="grok", days=30)

    assert (told.requests, told.keys, told.difference_usd, told.list_usd) == (0, 0, "0", "0")


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-9_000, 9_000)
)
def test_one_request_is_previewed_to_the_tick_as_it_is_charged(taken, cached, made, markup_bp):
    grant = PlanGrant(markup_bp=markup_bp)
    cached = min(cached, taken)
    row = used(input_tokens=taken, cached_tokens=cached, output_tokens=made)
    usage = Usage(input_tokens=taken, cached_tokens=cached, output_tokens=made)
    cost = cost_of(usage, PRICE)

    assert would([row], plan(markup_bp=markup_bp, is_default=True)) == usd_text(
        charge_of(cost, cost, grant)
    )


@pytest.mark.parametrize(
    ("billed", "listed", "percent"),
    [
        (100, 100, "0.00"),
        (150, 100, "50.00"),
        (1, 3, "-66.67"),
        (99_999, 100_000, "0.00"),
        (5, 0, None),
    ],
)
def test_a_drift_is_a_percentage_of_the_list(billed, listed, percent):
    (line,) = drift_of([Billed("grok", 1, billed, listed, 0, 0)], BOOK, 7).models

    assert line.percent == percent


def test_names_of_one_model_drift_together():
    rows = [Billed("grok", 1, 5, 3, 0, 0), Billed("x-ai/grok", 2, 5, 3, 1, 9)]

    (line,) = drift_of(rows, BOOK, 7).models

    assert (line.model, line.attempts, line.unlisted) == ("grok", 3, 1)
    assert (line.billed_usd, line.list_usd) == (usd_text(10), usd_text(6))
