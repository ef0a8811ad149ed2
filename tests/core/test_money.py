"""Money: whole ticks, rounded up, never negative, never a float."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, strategies as st

from groxy.core.money import (
    MAX_COST_TICKS,
    TICKS_PER_USD,
    MediaPrice,
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
_RATE = st.integers(0, 10**13)
_RATES = st.builds(
    TokenPrice,
    input=_RATE,
    cached_input=_RATE,
    output=_RATE,
    reasoning=st.none() | _RATE,
)
_PRICES = st.builds(
    Price,
    base=_RATES,
    long=st.none() | _RATES,
    long_from_tokens=st.integers(0, 10**6),
    per_request=_RATE,
    per_tool_call=_RATE,
)
_COUNTS = st.integers(-(10**9), 10**9)
_ANY_USAGES = st.builds(
    Usage,
    input_tokens=_COUNTS,
    cached_tokens=_COUNTS,
    output_tokens=_COUNTS,
    reasoning_tokens=_COUNTS,
    tool_calls=st.integers(-(10**6), 10**6),
)
_USAGES = _ANY_USAGES.map(clamped)
_PICTURES = MediaPrice(per_image={"1k/low": 4, "1k/medium": 6}, per_second={})
_FILM = MediaPrice(per_image={}, per_second={"480p": 5, "720p": 7}, per_input_image=1)
_FLAT = MediaPrice(per_image={"any": 2}, per_second={})
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


def test_reasoning_with_a_price_of_its_own_is_billed_at_that():
    price = Price(base=TokenPrice(input=0, cached_input=0, output=6_000_000, reasoning=2_000_000))
    usage = Usage(output_tokens=103, reasoning_tokens=94)
    assert cost_of(usage, price) == 9 * 6 + 94 * 2


def test_a_request_and_calls_of_tools_have_prices_beside_the_tokens():
    price = Price(base=_PLAIN, per_request=7, per_tool_call=50)
    usage = Usage(input_tokens=100, output_tokens=10, tool_calls=3)
    assert cost_of(usage, price) == cost_of(usage, Price(base=_PLAIN)) + 7 + 3 * 50


def test_more_cached_tokens_than_input_are_billed_as_the_input():
    price = Price(base=TokenPrice(input=3_000_000, cached_input=1_000_000, output=0))
    assert cost_of(Usage(input_tokens=10, cached_tokens=11), price) == 10


def test_more_reasoning_than_output_is_billed_as_the_output():
    price = Price(base=TokenPrice(input=0, cached_input=0, output=0, reasoning=1_000_000))
    assert cost_of(Usage(output_tokens=10, reasoning_tokens=11), price) == 10


def test_an_absurd_usage_costs_what_the_books_can_hold():
    assert cost_of(Usage(output_tokens=2**63), _GROK) == MAX_COST_TICKS
    assert cost_of(Usage(tool_calls=2**63), Price(base=_PLAIN, per_tool_call=1)) == MAX_COST_TICKS


def test_the_dearest_token_is_the_dearer_of_two_kinds():
    odd = TokenPrice(input=1, cached_input=2, output=3, reasoning=4)
    assert (odd.dearest_input, odd.dearest_output) == (2, 4)
    assert (_PLAIN.dearest_input, _PLAIN.dearest_output) == (_PLAIN.input, _PLAIN.output)


@given(_ANY_USAGES, _PRICES)
def test_impossible_counts_cost_what_the_possible_ones_do(usage, price):
    assert cost_of(usage, price) == cost_of(clamped(usage), price)


@given(_USAGES, _PRICES)
def test_cost_is_a_whole_number_within_bounds(usage, price):
    cost = cost_of(usage, price)
    assert isinstance(cost, int)
    assert 0 <= cost <= MAX_COST_TICKS


@given(_USAGES, _RATES)
def test_cost_is_exact_up_to_the_rounding_of_the_last_tick(usage, rates):
    paid = cost_of(usage, Price(base=rates))
    plain_output = usage.output_tokens - usage.reasoning_tokens
    reasoning = rates.output if rates.reasoning is None else rates.reasoning
    exact = Fraction(
        (usage.input_tokens - usage.cached_tokens) * rates.input
        + usage.cached_tokens * rates.cached_input
        + plain_output * rates.output
        + usage.reasoning_tokens * reasoning,
        1_000_000,
    )
    assert paid == MAX_COST_TICKS <= exact or 0 <= paid - exact < 1


@given(_USAGES, _RATES, st.integers(0, 10**6))
def test_more_output_never_costs_less(usage, rates, more):
    longer = msgspec.structs.replace(usage, output_tokens=usage.output_tokens + more)
    assert cost_of(longer, Price(base=rates)) >= cost_of(usage, Price(base=rates))


@pytest.mark.parametrize(("quality", "price"), [("low", 4), ("medium", 6)])
def test_a_picture_is_priced_by_resolution_and_quality(quality, price):
    assert _PICTURES.for_image(resolution="1k", quality=quality) == price


def test_a_picture_that_the_table_does_not_name_costs_its_dearest_row():
    assert _PICTURES.for_image(resolution="9k", quality="odd") == 6


def test_a_flat_price_is_for_any_picture():
    assert _FLAT.for_image(resolution="9k") == 2


def test_film_is_priced_by_its_resolution():
    assert _FILM.for_second(resolution="480p") == 5


def test_what_a_model_does_not_make_has_no_price():
    assert _PICTURES.for_second(resolution="480p") is None
    assert _FILM.for_image() is None
