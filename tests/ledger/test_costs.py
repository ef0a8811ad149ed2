import pytest
from hypothesis import given, strategies as st

from groxy.core.money import MAX_COST_TICKS, Price, TokenPrice, cost_of
from groxy.core.usage import Usage
from groxy.ledger.costs import BY_CATALOG, BY_UPSTREAM, UNPRICED, attempt_cost, list_cost

PRICE = Price(base=TokenPrice(input=3_000_000, cached_input=1_000_000, output=10_000_000))
USED = Usage(input_tokens=100, cached_tokens=40, output_tokens=7)


def test_the_bill_of_the_upstream_counts_before_the_catalog():
    billed = Usage(input_tokens=100, output_tokens=7, cost_ticks=5)

    assert attempt_cost(billed, PRICE, is_cached=False) == (5, BY_UPSTREAM)


def test_a_bill_of_nothing_is_a_bill():
    billed = Usage(input_tokens=100, output_tokens=7, cost_ticks=0)

    assert attempt_cost(billed, PRICE, is_cached=False) == (0, BY_UPSTREAM)


def test_a_bill_counts_without_any_token():
    assert attempt_cost(Usage(cost_ticks=9), PRICE, is_cached=False) == (9, BY_UPSTREAM)


def test_without_a_bill_the_catalog_says_what_it_costs():
    assert attempt_cost(USED, PRICE, is_cached=False) == (60 * 3 + 40 * 1 + 7 * 10, BY_CATALOG)


def test_without_bill_and_price_it_costs_nothing_and_says_so():
    assert attempt_cost(USED, None, is_cached=False) == (0, UNPRICED)


def test_what_used_nothing_costs_nothing():
    assert attempt_cost(Usage(), PRICE, is_cached=False) == (0, UNPRICED)


@pytest.mark.parametrize("price", [PRICE, None])
@pytest.mark.parametrize("bill", [None, 0, 77])
def test_an_answer_from_a_cache_costs_nothing_whatever_it_repeats(price, bill):
    replayed = Usage(input_tokens=100, output_tokens=7, cost_ticks=bill)

    assert attempt_cost(replayed, price, is_cached=True) == (0, BY_UPSTREAM)


def test_an_estimate_is_priced_like_any_other_usage():
    estimated = Usage(input_tokens=10, output_tokens=0, estimated=True)

    assert attempt_cost(estimated, PRICE, is_cached=False) == (30, BY_CATALOG)


def test_calls_of_tools_cost_also_where_no_token_was_counted():
    price = Price(base=PRICE.base, per_tool_call=50)

    assert attempt_cost(Usage(tool_calls=2), price, is_cached=False) == (100, BY_CATALOG)


def test_a_request_that_used_nothing_costs_nothing_though_requests_have_a_price():
    price = Price(base=PRICE.base, per_request=50)

    assert attempt_cost(Usage(), price, is_cached=False) == (0, UNPRICED)


def test_an_absurd_bill_counts_for_what_the_books_can_hold():
    absurd = Usage(input_tokens=1, cost_ticks=2**70)

    assert attempt_cost(absurd, PRICE, is_cached=False) == (MAX_COST_TICKS, BY_UPSTREAM)


def test_the_list_says_what_it_asks_beside_any_bill():
    billed = Usage(input_tokens=100, cached_tokens=40, output_tokens=7, cost_ticks=5)

    assert list_cost(billed, PRICE, is_cached=False) == 60 * 3 + 40 * 1 + 7 * 10


@pytest.mark.parametrize(("usage", "price"), [(USED, None), (Usage(cost_ticks=9), PRICE)])
def test_the_list_says_nothing_of_what_it_cannot_price(usage, price):
    assert list_cost(usage, price, is_cached=False) is None


def test_the_list_asks_nothing_for_an_answer_from_a_cache():
    assert list_cost(USED, PRICE, is_cached=True) == 0


counts = st.integers(0, 10**9)
usages = st.builds(Usage, input_tokens=counts, output_tokens=counts, cost_ticks=st.none() | counts)


@given(usages, st.sampled_from([PRICE, None]), st.booleans())
def test_a_cost_is_never_negative_and_its_source_is_one_of_three(usage, price, is_cached):
    cost, source = attempt_cost(usage, price, is_cached=is_cached)

    assert cost >= 0
    assert source in {BY_UPSTREAM, BY_CATALOG, UNPRICED}
    assert cost == 0 or source != UNPRICED


@given(usages)
def test_the_catalogs_cost_is_what_the_price_makes_of_the_usage(usage):
    cost, source = attempt_cost(usage, PRICE, is_cached=False)

    assert source != BY_CATALOG or cost == cost_of(usage, PRICE)
