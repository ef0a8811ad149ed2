from decimal import Decimal

import pytest
from msgspec.structs import replace

from groxy.core.errors import ErrorKind
from groxy.core.preferences import Preferences
from groxy.core.terms import Terms
from groxy.routing.router import Wanted
from groxy.routing.wishes import Names, key_of, price_of
from tests.routing.fleet import (
    BASIC,
    CATALOG,
    LIMITED,
    account,
    ids,
    listing,
    planned,
    refusal,
    rest,
    router_of,
)

MODEL = "grok-4.3"


def fleet(*, most=9):
    """Return a router over an account at each of four upstreams; the last picks providers."""
    return router_of(
        account("a", "xai", name="Work key"),
        account("b", "cometapi"),
        account("c", "openai_compatible", name="lab"),
        account("d", "openrouter"),
        most=most,
    )


def left(**wished):
    return "".join(sorted(ids(planned(fleet(), MODEL, preferences=Preferences(**wished)))))


def in_order(**wished):
    return "".join(ids(planned(fleet(), MODEL, preferences=Preferences(**wished))))


def refused(**wished):
    error = refusal(fleet(), MODEL, preferences=Preferences(**wished))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "provider")
    return error.message


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "key"),
    [("x-ai", "xai"), ("xAI", "xai"), ("Open Router", "openrouter"), ("my_key", "mykey"), ("", "")],
)
def test_names_are_compared_without_case_spaces_dashes_and_underscores(name, key):
    assert key_of(name) == key


def test_an_account_is_meant_by_its_own_name_and_by_its_upstreams_two():
    one = account("a", "cloudflare", name="Edge 1")

    assert Names([one]).keys(one) == {"cloudflare", "cloudflareaigateway", "edge1"}


def test_a_name_is_ours_when_it_means_any_account():
    names = Names([account("a", "xai", name="Edge 1"), account("b", "openrouter")])

    assert [names.has(key) for key in ("edge1", "xai", "openrouter", "azure")] == [
        *(True, True, True, False)
    ]


# -------------------------------------------------------------------------------------- only


@pytest.mark.parametrize(
    ("only", "who"),
    [
        (("xai",), "a"),
        (("x-ai",), "a"),
        (("xAI",), "a"),
        (("WORK_KEY",), "a"),
        (("xai", "CometAPI"), "ab"),
        (("lab",), "c"),
        (("openrouter",), "d"),
        (("OpenRouter", "lab"), "cd"),
    ],
)
def test_only_leaves_the_accounts_that_are_named(only, who):
    assert left(only=only) == who


def test_names_that_none_of_ours_has_are_left_to_the_upstream_that_knows_them():
    assert left(only=("azure", "deepinfra/turbo")) == "d"


def test_one_name_of_ours_says_that_ours_are_meant():
    assert left(only=("azure", "xai")) == "a"


def test_without_such_an_upstream_a_strange_name_leaves_nobody():
    router = router_of(account())

    error = refusal(router, MODEL, preferences=Preferences(only=("azure",)))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "provider")
    assert "`provider.only`" in error.message


def test_a_name_of_an_account_that_lacks_the_model_leaves_nobody():
    router = router_of(account("a"), account("b", "openai_compatible", **listing("own")))

    error = refusal(router, MODEL, preferences=Preferences(only=("b",)))

    assert "`provider.only`" in error.message


def test_a_model_that_does_not_exist_is_no_matter_of_wishes():
    error = refusal(router_of(account()), "gpt-4o", preferences=Preferences(only=("xai",)))

    assert error.kind is ErrorKind.UNKNOWN_MODEL


def test_accounts_that_are_named_but_rest_are_waited_for():
    router = router_of(rest(account("a"), 30, LIMITED), account("b", "cometapi"))

    error = refusal(router, MODEL, preferences=Preferences(only=("xai",)))

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 30)


# ------------------------------------------------------------------------------------ ignore


@pytest.mark.parametrize(
    ("ignore", "who"),
    [
        (("xai",), "bcd"),
        (("openrouter",), "abc"),
        (("azure",), "abcd"),
        (("lab", "work key"), "bd"),
    ],
)
def test_ignored_accounts_are_left_out(ignore, who):
    assert left(ignore=ignore) == who


def test_ignoring_all_is_told():
    assert "`provider.ignore`" in refused(ignore=("xai", "cometapi", "lab", "openrouter"))


def test_ignore_is_stronger_than_only():
    assert left(only=("xai", "lab"), ignore=("xai",)) == "c"


# ------------------------------------------------------------------------------------- order


def test_the_accounts_of_an_order_come_first_in_that_order():
    assert in_order(order=("lab", "xai"))[:2] == "ca"
    assert sorted(in_order(order=("lab", "xai"))[2:]) == ["b", "d"]


def test_an_order_is_stronger_than_pools():
    router = router_of(account("big"), account("small", pool=BASIC))

    plan = planned(router, MODEL, preferences=Preferences(order=("big", "small")))

    assert ids(plan) == ["big", "small"]


def test_a_name_that_none_of_ours_has_puts_its_upstream_before_the_rest():
    assert in_order(order=("lab", "azure"))[:2] == "cd"


def test_an_account_with_two_names_in_an_order_stands_at_the_first():
    assert in_order(order=("lab", "work key", "cometapi", "xai"))[:3] == "cab"


def test_only_and_order_together():
    assert in_order(only=("xai", "lab"), order=("lab",)) == "ca"


def test_a_resting_account_of_an_order_is_passed_over():
    router = router_of(rest(account("a"), 30, LIMITED), account("b", "cometapi"))

    assert ids(planned(router, MODEL, preferences=Preferences(order=("xai", "cometapi")))) == ["b"]


# ----------------------------------------------------------------------------- no fallbacks


def test_without_fallbacks_there_is_one_candidate():
    assert len(in_order(allow_fallbacks=False)) == 1


def test_without_fallbacks_the_first_of_an_order_is_asked_alone():
    assert in_order(order=("lab", "xai"), allow_fallbacks=False) == "c"


def test_without_fallbacks_nobody_outside_an_order_is_asked():
    router = router_of(account("a"), account("b", "openai_compatible", **listing("own")))

    wished = Preferences(order=("b",), allow_fallbacks=False)

    assert "`provider.order`" in refusal(router, MODEL, preferences=wished).message


# ------------------------------------------------------------------- training, prices, sorting


def test_upstreams_of_which_nothing_is_known_are_left_out_when_prompts_must_not_be_kept():
    assert left(may_collect=False) == "acd"


def test_when_all_may_keep_prompts_it_is_told():
    router = router_of(account(upstream="cometapi"))

    error = refusal(router, MODEL, preferences=Preferences(may_collect=False))

    assert "`provider.data_collection`" in error.message


@pytest.mark.parametrize(
    ("prompt", "completion", "is_left"),
    [
        ("1.25", None, True),
        ("1.24", None, False),
        (None, "2.50", True),
        (None, "2.49", False),
        ("1.25", "2.50", True),
        ("9", "2", False),
        ("0", None, False),
    ],
)
def test_a_model_that_costs_more_is_left_out(prompt, completion, is_left):
    wished = Preferences(
        max_prompt_usd=None if prompt is None else Decimal(prompt),
        max_completion_usd=None if completion is None else Decimal(completion),
    )
    if is_left:
        assert planned(fleet(), MODEL, preferences=wished).candidates
    else:
        assert "`provider.max_price`" in refusal(fleet(), MODEL, preferences=wished).message


def test_a_model_whose_price_is_not_known_is_left_out_when_there_is_a_limit():
    router = router_of(account(upstream="openai_compatible"))
    wished = Preferences(max_prompt_usd=Decimal(1000))

    assert "`provider.max_price`" in refusal(router, "llama-3", preferences=wished).message


def test_models_are_compared_by_what_a_million_tokens_in_and_out_cost():
    assert price_of(CATALOG.find(MODEL)) == 37_500_000_000


@pytest.mark.parametrize("name", ["grok-imagine-image", "v1", "stranger"])
def test_a_model_without_token_prices_compares_to_nothing(name):
    assert price_of(CATALOG.find(name)) is None


# --------------------------------------------------------------------------------------- tags


def tagged(account_id, *tags):
    return account(account_id, terms=Terms(tags=tags))


def test_accounts_that_have_all_preferred_tags_go_first_and_others_serve_too():
    router = router_of(tagged("a"), tagged("b", "x"), tagged("c", "x", "y", "z"))

    plan = planned(router, "grok-4.3", preferences=Preferences(prefer_tags=("x", "y")))

    assert ids(plan)[0] == "c"
    assert sorted(ids(plan)) == ["a", "b", "c"]


def test_a_conversation_leaves_its_home_for_preferred_tags():
    router = router_of(tagged("a"), tagged("b", "x"))
    wanted = Wanted(model="grok-4.3", carriers=("chat",), conversation="talk")
    router.affinity.remember("talk", "a")

    without = ids(router.plan(wanted))[0]
    wished = replace(wanted, preferences=Preferences(prefer_tags=("x",)))

    assert (without, ids(router.plan(wished))[0]) == ("a", "b")
