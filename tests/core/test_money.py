"""Money: whole ticks, rounded up, never negative, never a float."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from groxy.core.money import (
    TICKS_PER_USD,
    Price,
    TokenPrice,
    cost_of,
    ticks_from_usd,
    usd_from_ticks,
)
from groxy.core.usage import Usage, clamped

_PLAIN = TokenPrice(
    input=2 * TICKS_PER_USD, cached_input=TICKS_PER_USD // 2, output=6 * TICKS_PER_USD
)
_LONG = TokenPrice(input=4 * TICKS_PER_USD, cached_input=TICKS_PER_USD, output=12 * TICKS_PER_USD)
_GROK = Price(base=_PLAIN, long=_LONG, long_from_tokens=200_000)
_RATES = st.builds(
    TokenPrice,
    input=st.integers(0, 10**13),
    cached_input=st.integers(0, 10**13),
    output=st.integers(0, 10**13),
)
_PRICES = st.builds(
    Price, base=_RATES, long=st.none() | _RATES, long_from_tokens=st.integers(0, 10**6)
)
_COUNTS = st.integers(-(10**9), 10**9)
_USAGES = st.builds(Usage, input_tokens=_COUNTS, cached_tokens=_COUNTS, output_tokens=_COUNTS).map(
    clamped
)
_AMOUNTS = st.decimals(0, 10**6, allow_nan=False, allow_infinity=False)


def test_a_dollar_is_ten_thousand_million_ticks():
    assert ticks_from_usd(Decimal(1)) == 10_000_000_000


@pytest.mark.parametrize(
    ("usd", "ticks"),
    [("0.0037756", 37_756_000), ("0.02", 200_000_000), ("0", 0), ("1e-10", 1)],
)
def test_dollars_become_ticks_exactly(usd, ticks):
    assert ticks_from_usd(Decimal(usd)) == ticks


@pytest.mark.parametrize("usd", ["1e-11", "1e-400", "0." + "0" * 10 + "1" * 60])
def test_a_fraction_of_a_tick_is_a_whole_one(usd):
    assert ticks_from_usd(Decimal(usd)) == 1


def test_more_digits_than_decimals_usually_have_round_up_too():
    assert ticks_from_usd(Decimal("0.0000000001" + "0" * 40 + "1")) == 2


@given(_AMOUNTS)
def test_ticks_are_never_less_than_the_dollars_nor_a_tick_more(amount):
    ticks = ticks_from_usd(amount)
    assert isinstance(ticks, int)
    assert 0 <= ticks - Fraction(amount) * TICKS_PER_USD < 1


@given(st.integers(0, 2**63 - 1))
def test_ticks_survive_the_way_through_dollars(ticks):
    assert ticks_from_usd(usd_from_ticks(ticks)) == ticks


def test_short_prompts_pay_the_plain_price():
    assert _GROK.for_input(199_999) is _PLAIN


def test_long_prices_begin_at_their_bound():
    assert _GROK.for_input(200_000) is _LONG


def test_a_model_without_long_prices_has_one_price_for_all():
    price = Price(base=_PLAIN)
    assert price.for_input(10**9) is _PLAIN


def test_input_cached_input_and_output_each_have_their_price():
    usage = Usage(input_tokens=100_000, cached_tokens=40_000, output_tokens=10_000)
    dollars = Decimal("0.06") * 2 + Decimal("0.04") / 2 + Decimal("0.01") * 6
    assert cost_of(usage, _GROK) == ticks_from_usd(dollars)


def test_reasoning_is_a_part_of_the_output_and_not_billed_again():
    plain = Usage(input_tokens=32, output_tokens=103)
    thoughtful = Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94)
    assert cost_of(thoughtful, _GROK) == cost_of(plain, _GROK)


def test_a_long_prompt_makes_all_its_tokens_dear():
    usage = Usage(input_tokens=200_000, output_tokens=100)
    assert cost_of(usage, _GROK) == cost_of(usage, Price(base=_LONG))


def test_nothing_costs_nothing():
    assert cost_of(Usage(), _GROK) == 0


def test_a_fraction_of_a_tick_is_billed_as_one():
    price = Price(base=TokenPrice(input=1, cached_input=0, output=0))
    assert cost_of(Usage(input_tokens=1), price) == 1


@given(_USAGES, _PRICES)
def test_cost_is_a_whole_number_and_never_negative(usage, price):
    cost = cost_of(usage, price)
    assert isinstance(cost, int)
    assert cost >= 0


@given(_USAGES, _RATES)
def test_cost_is_exact_up_to_the_rounding_of_the_last_tick(usage, rates):
    paid = cost_of(usage, Price(base=rates))
    exact = Fraction(
        (usage.input_tokens - usage.cached_tokens) * rates.input
        + usage.cached_tokens * rates.cached_input
        + usage.output_tokens * rates.output,
        1_000_000,
    )
    assert 0 <= paid - exact < 1


@given(_USAGES, _RATES, st.integers(0, 10**6))
def test_more_output_never_costs_less(usage, rates, more):
    longer = Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens + more,
    )
    assert cost_of(longer, Price(base=rates)) >= cost_of(usage, Price(base=rates))
