"""The price book: which version holds when, how long a tariff does, and what follows from it."""

import timeit
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from groxy.core.grants import PlanGrant
from groxy.core.money import MAX_COST_TICKS, MediaPrice, Price, TokenPrice, cost_of
from groxy.core.usage import Usage
from groxy.ledger.prices import CATALOG, PriceBook, charge_of, upper_bound
from groxy.store.prices import PriceVersion

OLD = Price(base=TokenPrice(input=2, cached_input=1, output=6))
NEW = Price(base=TokenPrice(input=20, cached_input=10, output=60))
NEWER = Price(base=TokenPrice(input=200, cached_input=100, output=600))
PICTURES = MediaPrice(per_image={"any": 5}, per_second={})
CATALOGED = {"grok": (OLD, None), "painter": (None, PICTURES)}


def catalog(name):
    return CATALOGED.get(name, (None, None))


def version(version_id, effective_ms, *, model="grok", price=NEW, media=None):
    return PriceVersion(
        id=version_id,
        model=model,
        effective_ms=effective_ms,
        price=price,
        media=media,
        note="",
        created_ms=0,
    )


def book(*versions, names=None):
    made = PriceBook(catalog) if names is None else PriceBook(catalog, names)
    made.replace(versions)
    return made


def test_without_versions_the_catalog_holds():
    priced = book().tariff(1000).of("grok")

    assert (priced.price, priced.media, priced.version) == (OLD, None, CATALOG)


def test_a_book_that_was_never_filled_has_the_catalogs_prices():
    priced = PriceBook(catalog).tariff(1000).of("painter")
    assert priced is not None
    assert priced.media is PICTURES


def test_a_stranger_has_no_price():
    assert book().tariff(1000).of("nobody") is None


def test_a_version_prices_a_stranger():
    assert book(version("price_1", 5, model="nobody")).tariff(5).of("nobody").price is NEW


@pytest.mark.parametrize(
    ("at_ms", "held_by"),
    [
        (0, CATALOG),
        (999, CATALOG),
        (1000, "price_1"),
        (1999, "price_1"),
        (2000, "price_2"),
        (2**53, "price_2"),
    ],
)
def test_a_version_holds_from_its_very_moment_until_that_of_the_next(at_ms, held_by):
    prices = book(version("price_2", 2000, price=NEWER), version("price_1", 1000))

    assert prices.tariff(at_ms).of("grok").version == held_by


def test_time_may_be_asked_in_any_order():
    prices = book(version("price_1", 1000), version("price_2", 2000))

    told = [prices.tariff(at_ms).of("grok").version for at_ms in (2000, 999, 1000, 999, 3000)]

    assert told == ["price_2", CATALOG, "price_1", CATALOG, "price_2"]


def test_of_two_versions_for_one_moment_the_newest_id_holds():
    prices = book(version("price_b", 1000, price=NEWER), version("price_a", 1000))

    assert prices.tariff(1000).of("grok").version == "price_b"


def test_a_newer_version_that_holds_from_earlier_on_does_not_come_before_a_later_moment():
    prices = book(version("price_1", 2000), version("price_2", 1000))

    assert prices.tariff(2000).of("grok").version == "price_1"


def test_each_model_has_its_own_versions():
    prices = book(version("price_1", 1000), version("price_2", 500, model="painter", media=None))

    assert prices.tariff(700).of("grok").version == CATALOG
    assert prices.tariff(700).of("painter").version == "price_2"


def test_what_a_version_leaves_open_is_as_in_the_catalog():
    priced = book(version("price_1", 0, model="painter")).tariff(1).of("painter")

    assert (priced.price, priced.media) == (NEW, PICTURES)


def test_a_version_is_found_by_the_best_of_several_names():
    prices = book(
        version("price_1", 0, model="grok"),
        version("price_2", 0, model="sent", price=NEWER),
        names=lambda name: (name.removeprefix("x-ai/"), "sent"),
    )

    assert prices.tariff(1).of("x-ai/grok").version == "price_1"
    assert prices.tariff(1).of("x-ai/other").version == "price_2"


def test_a_tariff_does_not_change_when_the_book_does():
    prices = book(version("price_1", 0))
    tariff = prices.tariff(10)

    prices.replace([version("price_1", 0), version("price_2", 5, price=NEWER)])

    assert tariff.of("grok").version == "price_1"
    assert prices.tariff(10).of("grok").version == "price_2"


def test_a_tariff_does_not_change_when_a_version_comes_into_force():
    prices = book(version("price_1", 1000))
    tariff = prices.tariff(999)

    assert prices.tariff(1000).of("grok").version == "price_1"
    assert tariff.of("grok").version == CATALOG


def test_a_tariff_tells_the_catalogs_price_as_it_did_at_first():
    listed = {"grok": (OLD, None)}
    prices = PriceBook(listed.__getitem__)
    tariff = prices.tariff(1)
    first = tariff.of("grok")

    listed["grok"] = (NEW, None)

    assert tariff.of("grok") is first
    later = prices.tariff(1).of("grok")
    assert later is not None
    assert later.price is NEW


def test_what_is_in_force_is_told_by_model():
    prices = book(version("price_1", 1), version("price_2", 9), version("price_3", 99))

    assert {model: one.id for model, one in prices.in_force(50).items()} == {"grok": "price_2"}


def test_a_tariff_is_made_in_about_a_microsecond():
    prices = book(*(version(f"price_{n}", n, model=f"m{n}") for n in range(1000)))
    prices.tariff(5000)

    best_s = min(timeit.repeat(lambda: prices.tariff(5000), number=1000, repeat=20)) / 1000

    assert best_s < 5e-6  # five times the bar: the machine may be busy


# ------------------------------------------------------------------------------------- charges

TICKS = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("basis", "markup_bp", "pays"),
    [
        ("bill", 0, 100),
        ("bill", 2_000, 120),
        ("bill", -2_500, 75),
        ("list", 0, 300),
        ("list", 1, 301),
        ("bill", -10_000, 0),
        ("bill", -99_999, 0),
    ],
)
def test_a_plan_pays_its_basis_and_its_mark_up(basis, markup_bp, pays):
    assert charge_of(100, 300, PlanGrant(basis=basis, markup_bp=markup_bp)) == pays


def test_what_the_list_does_not_price_is_charged_by_the_bill():
    assert charge_of(100, None, PlanGrant(basis="list", markup_bp=1_000)) == 110


def test_what_the_list_has_for_nothing_is_free():
    assert charge_of(100, 0, PlanGrant(basis="list")) == 0


@given(TICKS, TICKS, st.integers(-20_000, 100_000), st.sampled_from(["bill", "list"]))
def test_a_charge_is_rounded_up_by_less_than_a_tick(cost, listed, markup_bp, basis):
    charge = charge_of(cost, listed, PlanGrant(basis=basis, markup_bp=markup_bp))
    base = cost if basis == "bill" else listed

    exact = Fraction(base * (10_000 + markup_bp), 10_000)
    assert 0 <= charge - max(exact, Fraction(0)) < 1


@given(TICKS, TICKS, TICKS, st.integers(-20_000, 100_000), st.sampled_from(["bill", "list"]))
def test_who_uses_more_is_never_charged_less(cost, listed, more, markup_bp, basis):
    plan = PlanGrant(basis=basis, markup_bp=markup_bp)

    assert charge_of(cost + more, listed + more, plan) >= charge_of(cost, listed, plan)


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70), st.integers(-(2**40), 2**40))
def test_no_charge_is_outside_what_the_books_hold(cost, listed, markup_bp):
    assert 0 <= charge_of(cost, listed, PlanGrant(markup_bp=markup_bp)) <= MAX_COST_TICKS


# --------------------------------------------------------------------------------- upper bounds

RATE = st.integers(0, 10**13)
RATES = st.builds(
    TokenPrice, input=RATE, cached_input=RATE, output=RATE, reasoning=st.none() | RATE
)
PRICES = st.builds(
    Price,
    base=RATES,
    long=st.none() | RATES,
    long_from_tokens=st.integers(0, 300),
    per_request=RATE,
    per_tool_call=RATE,
)
COUNTS = st.integers(0, 400)


@given(PRICES, COUNTS, COUNTS, st.integers(0, 9), st.data())
def test_no_usage_within_the_counts_costs_more_than_their_bound(price, taken, made, calls, data):
    bound = upper_bound(price, input_tokens=taken, output_tokens=made, tool_calls=calls)
    usage = Usage(
        input_tokens=(read := data.draw(st.integers(0, taken))),
        cached_tokens=data.draw(st.integers(0, read)),
        output_tokens=(written := data.draw(st.integers(0, made))),
        reasoning_tokens=data.draw(st.integers(0, written)),
        tool_calls=data.draw(st.integers(0, calls)),
    )

    assert cost_of(usage, price) <= bound


@given(PRICES, COUNTS, COUNTS)
def test_some_usage_within_the_counts_costs_as_much_as_their_bound(price, taken, made):
    edges = {taken, max(min(taken, price.long_from_tokens - 1), 0)}
    dearest = max(
        cost_of(
            Usage(
                input_tokens=read,
                cached_tokens=cached,
                output_tokens=made,
                reasoning_tokens=thought,
            ),
            price,
        )
        for read in edges
        for cached in (0, read)
        for thought in (0, made)
    )

    assert upper_bound(price, input_tokens=taken, output_tokens=made) == dearest


def test_the_long_price_bounds_from_exactly_its_first_token_on():
    price = Price(
        base=TokenPrice(input=10**6, cached_input=0, output=0),
        long=TokenPrice(input=3 * 10**6, cached_input=0, output=0),
        long_from_tokens=100,
    )

    bounds = [upper_bound(price, input_tokens=count, output_tokens=0) for count in (99, 100)]

    assert bounds == [99, 300]


def test_an_absurd_bound_is_what_the_books_can_hold():
    assert upper_bound(OLD, input_tokens=2**80, output_tokens=0) == MAX_COST_TICKS


def test_negative_counts_bound_like_none():
    price = Price(base=OLD.base, per_request=4)
    assert upper_bound(price, input_tokens=-5, output_tokens=-5, tool_calls=-5) == 4
