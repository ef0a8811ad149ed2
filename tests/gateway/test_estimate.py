import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.grants import PlanGrant
from groxy.core.money import Price, TokenPrice, cost_of
from groxy.core.usage import Usage
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway.estimate import Quote, quote_of
from groxy.ledger.prices import charge_of
from tests.gateway.stage import Reply, Seat, Stage

CHEAP = Price(base=TokenPrice(input=12_500_000_000, cached_input=1, output=25_000_000_000))
LONG = Price(
    base=TokenPrice(input=12_500_000_000, cached_input=2_000_000_000, output=25_000_000_000),
    long=TokenPrice(input=25_000_000_000, cached_input=4_000_000_000, output=50_000_000_000),
    long_from_tokens=200_000,
)
ODD = Price(
    base=TokenPrice(input=7, cached_input=900_000_001, output=3, reasoning=11),
    per_request=13,
    per_tool_call=17,
)


def quote(prices=(LONG,), **more):
    given: dict[str, Any] = {
        "prompt_tokens": 100,
        "prompt_bound": 1_115,
        "output_tokens": 32_000,
        "choices": 1,
        "is_bounded": False,
        "tool_calls": 0,
        "price_version": "catalog",
        "plan": PlanGrant(),
    }
    return Quote(prices=tuple(prices), **(given | more))


def asked_of(dialect, **fields):
    return dialect.decode_request(json.dumps(fields).encode())


def quoted(dialect, **fields):
    means = Stage(Seat(Reply())).gateway
    asked = asked_of(dialect, **fields)
    return quote_of(means, dialect, asked, tariff=means.prices.tariff(0), plan=PlanGrant())


PROMPT = [{"role": "user", "content": "one two three four"}]


# ----------------------------------------------------------------------------------------- bounds

counts = st.integers(0, 400_000)


@given(
    price=st.sampled_from([CHEAP, LONG, ODD]),
    markup=st.integers(-10_000, 50_000),
    basis=st.sampled_from(["bill", "list"]),
    taken=counts,
    cached=counts,
    made=counts,
    reasoned=counts,
    slack=st.tuples(counts, counts),
)
def test_no_usage_within_a_quote_is_charged_more(
    price, markup, basis, taken, cached, made, reasoned, slack
):
    plan = PlanGrant(markup_bp=markup, basis=basis)
    usage = Usage(
        input_tokens=taken, cached_tokens=cached, output_tokens=made, reasoning_tokens=reasoned
    )
    bound = quote([price], prompt_bound=taken + slack[0], output_tokens=made + slack[1], plan=plan)

    cost = cost_of(usage, price)

    assert charge_of(cost, cost, plan) <= bound.ticks()


@given(price=st.sampled_from([CHEAP, LONG, ODD]), ticks=st.integers(0, 10**13))
def test_what_is_affordable_is_the_most_that_is(price, ticks):
    bound = quote([price])

    tokens = bound.affordable(ticks)

    assert tokens == 0 or bound.ticks(tokens) <= ticks
    assert tokens in (1_000_000, bound.output_tokens) or bound.ticks(tokens + 1) > ticks


def test_what_pays_for_a_whole_quote_pays_for_its_output():
    for price in (CHEAP, LONG, ODD):
        bound = quote([price])
        assert bound.affordable(bound.ticks()) == bound.output_tokens


def test_of_several_models_the_dearest_counts():
    assert quote([CHEAP, LONG]).ticks() == quote([LONG]).ticks()


def test_a_model_without_a_price_is_for_those_who_have_something_left():
    unknown = quote([])

    assert unknown.ticks() == 0
    assert (unknown.demand.ticks, unknown.demand.least_ticks) == (1, -1)
    assert quote([], plan=PlanGrant(markup_bp=-10_000)).demand.ticks == 0, "all of it is free"


def test_who_names_a_bound_gets_all_of_it_or_nothing():
    assert quote(is_bounded=True).demand.least_ticks == -1


def test_who_names_none_is_content_with_a_short_reply():
    demand = quote().demand

    assert quote().ticks(256) == demand.least_ticks < demand.ticks


def test_a_max_cost_is_held_and_no_more():
    demand = quote(max_ticks=10_000_000).demand

    assert demand.ticks == 10_000_000
    assert demand.least_ticks <= 10_000_000


# ---------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (CHAT, {"messages": PROMPT, "max_tokens": 70, "n": 3}),
        (CHAT, {"messages": PROMPT, "max_completion_tokens": 70, "n": 3}),
        (MESSAGES, {"messages": PROMPT, "max_tokens": 210}),
        (RESPONSES, {"input": "one two three four", "max_output_tokens": 210}),
    ],
)
def test_the_callers_bound_counts_for_all_choices(dialect, fields):
    found = quoted(dialect, model="grok-4.3", **fields)

    assert found.output_tokens == 210
    assert found.is_bounded


def test_without_a_bound_the_setting_counts_for_each_choice():
    found = quoted(CHAT, model="grok-4.3", messages=PROMPT, n=2)

    assert (found.output_tokens, found.choices) == (64_000, 2)
    assert not found.is_bounded


def test_a_prompt_is_bounded_with_room_for_what_nobody_sees():
    found = quoted(CHAT, model="grok-4.3", messages=PROMPT)

    assert found.prompt_tokens == 8  # four words and what each message takes
    assert found.prompt_bound == 8 + 1 + 1_000


def test_long_prompts_are_sampled_and_counted_about_right():
    words = "word " * 200_000
    messages = [{"role": "user", "content": words}]

    found = quoted(CHAT, model="grok-4.3", messages=messages)

    assert abs(found.prompt_tokens - 200_000) < 2_000


def test_pictures_count():
    parts = [
        {"type": "text", "text": "what"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    ]
    messages = [{"role": "user", "content": parts}]

    found = quoted(CHAT, model="grok-4.3", messages=messages)

    assert found.prompt_tokens > 1_000


def test_tools_of_the_upstream_may_be_called_often():
    tools = [{"type": "web_search"}]

    found = quoted(RESPONSES, model="grok-4.3", input="a", tools=tools)

    assert found.tool_calls == 10


def test_embeddings_write_nothing():
    found = quoted(EMBEDDINGS, model="v1", input=["one two", "three"])

    assert (found.output_tokens, found.prompt_tokens) == (0, 3)


def test_names_are_priced_as_what_they_stand_for():
    plain = quoted(CHAT, model="grok-4.3", messages=PROMPT)
    suffixed = quoted(CHAT, model="grok-4.3:nitro", messages=PROMPT)

    assert plain.prices == suffixed.prices
    assert plain.prices[0].base.output == 25_000_000_000
