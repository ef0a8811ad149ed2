"""What an upstream charged is read the same way, whatever dialect tells it."""

import pytest
from hypothesis import given, strategies as st

from groxy.dialects._base import BillField, UsageRules
from groxy.dialects._bills import Billed, bill_of, is_reasoning_apart
from groxy.wire.json import decoder, encode

TICKS = UsageRules(bill=BillField.TICKS)
USD = UsageRules(bill=BillField.USD)
PLAIN = UsageRules()
APART = UsageRules(reasoning_apart=True)
_read = decoder(Billed).decode


def billed(**said: object) -> Billed:
    return _read(encode(said))


@pytest.mark.parametrize(
    ("said", "rules", "ticks"),
    [
        ({"cost_in_usd_ticks": 777}, TICKS, 777),
        ({"cost_in_usd_ticks": 777}, USD, None),
        ({"cost_in_usd_ticks": 777}, PLAIN, None),
        ({"cost_in_usd_ticks": -1}, TICKS, None),
        ({"cost_in_usd_ticks": 10**17}, TICKS, None),
        ({}, TICKS, None),
        ({"cost": 0.0037756}, USD, 37_756_000),
        ({"cost": "0.5"}, USD, 5_000_000_000),
        ({"cost": 0}, USD, 0),
        ({"cost": "free"}, USD, None),
        ({"cost": None}, USD, None),
        ({"cost": -0.1}, USD, None),
        ({"cost": 1e300}, USD, None),
    ],
)
def test_a_bill_is_read_where_it_should_stand(said, rules, ticks) -> None:
    assert bill_of(billed(**said), rules) == ticks


@pytest.mark.parametrize(
    ("details", "ticks"),
    [
        ({"upstream_inference_cost": 0.2}, 2_100_000_000),
        ({"upstream_inference_cost": None}, None),
        ({}, None),
        ("odd", None),
    ],
)
def test_with_an_own_key_the_makers_share_is_added(details, ticks) -> None:
    said = {"cost": 0.01, "is_byok": True, "cost_details": details}
    assert bill_of(billed(**said), USD) == ticks


def test_without_an_own_key_the_details_repeat_the_cost() -> None:
    said = {"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.01}}
    assert bill_of(billed(**said), USD) == 100_000_000


@pytest.mark.parametrize(
    ("total", "taken", "made", "reasoning", "rules", "expected"),
    [
        (135, 32, 9, 94, PLAIN, True),
        (41, 32, 9, 5, APART, False),
        (None, 32, 9, 5, PLAIN, False),
        (None, 32, 9, 5, APART, True),
        (None, 32, 9, 94, PLAIN, True),
        (None, 32, 9, 0, APART, False),
        (None, 32, 9, -1, APART, False),
    ],
)
def test_the_total_tells_where_reasoning_is_counted(
    total, taken, made, reasoning, rules, expected
) -> None:
    assert is_reasoning_apart(total, taken, made, reasoning, rules) is expected


@given(st.text(max_size=30), st.sampled_from([TICKS, USD]))
def test_no_cost_raises(text, rules) -> None:
    bill = bill_of(billed(cost=text, is_byok=True, cost_details=text), rules)
    assert bill is None or bill >= 0
