import timeit
from decimal import Decimal

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.preferences import Preferences, SortBy
from groxy.core.terms import Terms
from groxy.routing import router as module
from groxy.routing.account import Status
from groxy.routing.router import Router
from groxy.routing.wanted import Wanted
from groxy.upstreams._base import Credentials, Upstream
from tests.routing.fleet import (
    AUTH,
    BASIC,
    CATALOG,
    DOWN,
    LIMITED,
    QUOTA,
    SUPER,
    account,
    directory_of,
    ids,
    listing,
    names,
    planned,
    refusal,
    rest,
    router_of,
    sent,
)

# -------------------------------------------------------------------------------------- memory


def test_names_that_callers_make_up_do_not_fill_the_memory():
    router = router_of(account(), account("b", "openai_compatible"))

    for number in range(3 * module._MAX_NAMES):
        planned(router, f"made-up-{number}")

    assert len(router._able) <= module._MAX_NAMES + 1


def test_names_that_nobody_serves_do_not_fill_the_memory():
    router = router_of(account())

    for number in range(3 * module._MAX_NAMES):
        refusal(router, f"made-up-{number}")

    assert len(router._able) <= module._MAX_NAMES + 1


def test_a_long_name_is_served_but_not_remembered():
    router = router_of(account(upstream="openai_compatible"))
    name = "m" * 100_000

    assert sent(planned(router, name)) == [name]
    assert not router._able


def test_many_names_at_many_accounts_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_MAX_REMEMBERED", 1000)
    router = router_of(*(account(f"{number}", "openai_compatible") for number in range(100)))

    most = 0
    for number in range(100):
        planned(router, f"made-up-{number}")
        most = max(most, sum(able.count for able in router._able.values()))

    assert 900 < most <= 1100


def test_what_is_remembered_is_used(monkeypatch):
    router = router_of(account())
    planned(router, "grok-4.3")
    monkeypatch.setattr(router, "_find_able", None)

    assert ids(planned(router, "grok-4.3")) == ["acc_1"]


def test_new_accounts_are_seen_at_once():
    directory = directory_of()
    router = Router(CATALOG, directory, max_candidates=3)
    refusal(router, "grok-4.3")
    directory.replace([account()])

    assert ids(planned(router, "grok-4.3")) == ["acc_1"]


def test_a_new_list_is_seen_at_once():
    one = account()
    directory = directory_of(one)
    router = Router(CATALOG, directory, max_candidates=3)
    planned(router, "grok-4.3")
    directory.set_models(one, frozenset({"own"}))

    assert refusal(router, "grok-4.3").kind is ErrorKind.UNKNOWN_MODEL
    assert sent(planned(router, "own")) == ["own"]


# ---------------------------------------------------------------------------- what can be used


def test_every_model_that_is_listed_can_be_asked_for_and_no_other():
    accounts = [
        account("a", pool=SUPER, **listing("grok-4.3", "grok-4.20-0309-reasoning")),
        account("b", "openai_compatible", pool=BASIC, **listing("llama-3", "grok-4.3-high")),
    ]
    router = router_of(*accounts)

    can_be_asked_for = []
    for name in [*(model.id for model in CATALOG.models()), "llama-3", "llama-4"]:
        try:
            planned(router, name)
        except GroxyError:
            continue
        can_be_asked_for.append(name)

    assert sorted(names(router)) == sorted(can_be_asked_for)
    assert {"grok-4.3", "llama-3"} < set(can_be_asked_for)


def test_one_model_is_found_exactly_if_it_is_in_the_list():
    router = router_of(account("a", pool=SUPER, **listing("grok-4.3", "own")))
    everything = [*(model.id for model in CATALOG.models()), "own", "other"]

    found = [name for name in everything if router.model(name) is not None]

    assert sorted(found) == sorted(names(router))


class Everything(Upstream):
    """An upstream that speaks every dialect there is."""

    name = "everything"
    serves_catalog = True
    dialects = ("chat", "responses", "messages", "completions", "embeddings", "images", "videos")


def test_with_an_account_for_everything_all_models_are_listed_in_the_catalogs_order():
    everything = [model.id for model in CATALOG.models()]

    assert names(router_of(account(upstream=Everything()))) == everything


def test_an_embedding_model_is_listed_where_an_account_makes_embeddings():
    class Talker(Upstream):
        name = "talker"
        serves_catalog = True

    assert "v1" in names(router_of(account()))
    assert "v1" not in names(router_of(account(upstream=Talker())))


def test_a_model_that_is_reached_in_one_dialect_only_is_listed_too():
    assert "grok-4.20-multi-agent-0309" in names(router_of(account()))


def test_names_that_only_lists_have_come_last_and_sorted():
    accounts = [
        account("a", **listing("zeta", "grok-4.3", "alpha")),
        account("b", "openrouter", **listing("alpha", "x-ai/grok-4.3", "beta")),
    ]

    assert names(router_of(*accounts))[-3:] == ["alpha", "beta", "zeta"]


def test_no_model_is_listed_twice():
    listed = listing("grok-4.3", "own")
    found = names(router_of(account("a", **listed), account("b", "openai_compatible", **listed)))

    assert len(set(found)) == len(found)


def test_without_an_account_no_model_is_listed():
    assert names(router_of()) == []


def test_models_of_an_account_whose_key_was_rejected_are_neither_listed_nor_found():
    expired = account("a", **listing("own"))
    expired.stand(Status.EXPIRED, "credential_rejected", 0.0)
    router = router_of(expired, account("b", **listing("grok-4.3")))

    assert "own" not in names(router)
    assert router.model("own") is None
    assert router.model("grok-4.3") is CATALOG.find("grok-4.3")


@pytest.mark.parametrize("reason", [AUTH, QUOTA, LIMITED, DOWN])
def test_models_of_an_account_that_only_rests_stay_in_the_list(reason):
    router = router_of(rest(account("a", **listing("own")), 60, reason))

    assert names(router) == ["own"]
    assert router.model("own") == "own"


def test_one_expired_account_does_not_hide_its_healthy_twin():
    listed = listing("own")

    assert names(router_of(rest(account("a", **listed), 60, AUTH), account("b", **listed))) == [
        "own"
    ]


def test_accounts_that_differ_only_in_their_options_are_not_taken_for_one_another():
    class Fussy(Upstream):
        name = "fussy"
        serves_catalog = True

        def model_id(self, official, account):
            return f"{official}@{account.options['region']}"

    fussy = Fussy()
    accounts = [
        account(
            region,
            fussy,
            credentials=Credentials(api_key="k", options={"region": region}),
            **listing("grok-4.3@east"),
        )
        for region in ("west", "east")
    ]

    assert "grok-4.3" in names(router_of(*accounts))


def test_a_model_is_found_by_each_of_its_names():
    router = router_of(account())

    assert router.model("x-ai/grok-4.3") is CATALOG.find("grok-4.3")
    assert router.model("grok-4.3-latest") is CATALOG.find("grok-4.3")


@pytest.mark.parametrize("asked", ["nonsense", ""])
def test_what_cannot_be_used_is_not_found(asked):
    assert router_of(account()).model(asked) is None


# --------------------------------------------------------------------------------------- fallbacks


def test_the_fallbacks_come_behind_the_model_in_their_order():
    router = router_of(account())

    plan = planned(router, "grok-4.7", fallbacks=("grok-4.6", "grok-4.3"))

    assert sent(plan) == ["grok-4.7", "grok-4.6", "grok-4.3"]
    assert [one.target.model for one in plan.candidates] == [
        CATALOG.find(name) for name in ("grok-4.7", "grok-4.6", "grok-4.3")
    ]


def test_each_fallback_gets_an_attempt_though_the_model_has_many_accounts():
    router = router_of(*(account(f"{number}") for number in range(9)))

    assert sent(planned(router, "grok-4.7", fallbacks=("grok-4.6",))) == [
        *("grok-4.7", "grok-4.7", "grok-4.6")
    ]


def test_more_models_than_attempts_get_one_attempt_each():
    router = router_of(account("a"), account("b"), most=1)

    assert sent(planned(router, "grok-4.7", fallbacks=("grok-4.6", "grok-4.3"))) == [
        *("grok-4.7", "grok-4.6", "grok-4.3")
    ]


def test_an_account_is_not_asked_for_the_same_model_twice():
    plan = planned(router_of(account()), "grok-4.3", fallbacks=("grok-4.3-latest", "grok-4.3"))

    assert sent(plan) == ["grok-4.3"]


def test_a_fallback_serves_while_the_accounts_of_the_model_rest():
    accounts = [
        rest(account("a", **listing("grok-4.7")), 60, LIMITED),
        account("b", **listing("grok-4.3")),
    ]

    assert ids(planned(router_of(*accounts), "grok-4.7", fallbacks=("grok-4.3",))) == ["b"]


def test_a_doubtful_account_of_the_model_comes_before_a_healthy_one_of_a_fallback():
    accounts = [
        rest(account("a", **listing("grok-4.7")), 5, DOWN),
        account("b", **listing("grok-4.3")),
    ]

    assert ids(planned(router_of(*accounts), "grok-4.7", fallbacks=("grok-4.3",))) == ["a", "b"]


@pytest.mark.parametrize(
    ("asked", "fallbacks"),
    [
        ("gpt-4o", ("grok-4.3",)),
        ("grok-4.3", ("gpt-4o", "gpt-5")),
        ("grok-imagine-image", ("grok-4.3",)),
        ("gpt-4o", ("gpt-5", "grok-4.3", "v1")),
    ],
)
def test_models_that_nobody_serves_are_passed_over_as_long_as_one_is_served(asked, fallbacks):
    assert sent(planned(router_of(account()), asked, fallbacks=fallbacks)) == ["grok-4.3"]


def test_when_no_model_is_known_the_first_one_is_named():
    error = refusal(router_of(account()), "gpt-4o", fallbacks=("gpt-5", "grok-99"))

    assert error.kind is ErrorKind.UNKNOWN_MODEL
    assert "`gpt-4o`" in error.message


def test_when_all_models_rest_the_shortest_wait_is_told():
    accounts = [
        rest(account("a", **listing("grok-4.7")), 60, LIMITED),
        rest(account("b", **listing("grok-4.3")), 20, LIMITED),
    ]

    error = refusal(router_of(*accounts), "grok-4.7", fallbacks=("grok-4.3",))

    assert (error.kind, error.retry_after_s) == (ErrorKind.RATE_LIMITED, 20)


def test_too_many_fallbacks_are_refused():
    error = refusal(router_of(account()), "grok-4.3", fallbacks=("grok-4.7",) * 33)

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "models")


def test_sorted_by_price_the_cheapest_model_comes_first():
    plan = planned(
        router_of(account(), account("b", "openai_compatible", **listing("llama"))),
        "llama",
        fallbacks=("grok-4.7", "grok-build-0.1", "grok-4.3"),
        preferences=Preferences(sort=SortBy.PRICE),
    )

    assert sent(plan) == ["grok-build-0.1", "grok-4.3", "grok-4.7", "llama"]


def test_without_account_fallbacks_there_is_no_other_model_either():
    wished = Preferences(allow_fallbacks=False)

    plan = planned(router_of(account()), "grok-4.7", fallbacks=("grok-4.3",), preferences=wished)

    assert sent(plan) == ["grok-4.7"]


def test_a_wish_that_leaves_nobody_for_the_model_may_leave_somebody_for_a_fallback():
    wished = Preferences(max_prompt_usd=Decimal("1.50"))

    plan = planned(router_of(account()), "grok-4.7", fallbacks=("grok-4.3",), preferences=wished)

    assert sent(plan) == ["grok-4.3"]


def test_a_wish_that_leaves_nobody_at_all_is_named():
    wished = Preferences(max_prompt_usd=Decimal("0.50"))

    error = refusal(router_of(account()), "gpt-4o", fallbacks=("grok-4.3",), preferences=wished)

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "provider")


# --------------------------------------------------------------------------- wishes and the memory


def test_plans_with_different_wishes_are_not_taken_for_one_another():
    router = router_of(account("a"), account("b", "cometapi"))

    plans = [
        sorted(ids(planned(router, "grok-4.3", preferences=Preferences(only=only))))
        for only in ((), ("xai",), ("cometapi",), ("xai",), ())
    ]

    assert plans == [["a", "b"], ["a"], ["b"], ["a"], ["a", "b"]]


def test_wishes_that_callers_make_up_do_not_fill_the_memory():
    router = router_of(account())

    for number in range(3 * module._MAX_NAMES):
        planned(router, "grok-4.3", preferences=Preferences(ignore=(f"made-up-{number}",)))

    assert len(router._able) <= module._MAX_NAMES + 1


def test_long_wishes_are_fulfilled_but_not_remembered():
    router = router_of(account())
    wished = Preferences(ignore=("x" * 10_000,))

    assert ids(planned(router, "grok-4.3", preferences=wished)) == ["acc_1"]
    assert len(router._able) == 0


def test_names_of_new_accounts_are_known_at_once():
    directory = directory_of(account("a"))
    router = Router(CATALOG, directory, max_candidates=3)
    wished = Preferences(ignore=("b",))
    planned(router, "grok-4.3", preferences=wished)
    directory.replace([account("a"), account("b")])

    assert ids(planned(router, "grok-4.3", preferences=wished)) == ["a"]


def test_a_plain_plan_takes_some_ten_microseconds():
    router = router_of(*(account(f"{number}") for number in range(10)))
    wanted = Wanted(model="grok-4.3", carriers=("chat", "responses", "messages"))
    router.plan(wanted)

    best_s = min(timeit.repeat(lambda: router.plan(wanted), number=500, repeat=10)) / 500

    # The bar is 10; a shared machine gets some room, and a scan of accounts or names none.
    assert best_s < 30e-6


def test_a_model_that_is_served_but_not_with_what_is_asked_names_the_field():
    router = router_of(account("a"))
    with pytest.raises(GroxyError) as caught:
        router.plan(Wanted(model="grok-4.3", carriers=("messages",), bound_by="tools"))
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert caught.value.param == "tools"


def test_a_model_that_only_one_of_two_alike_may_serve_is_listed():
    accounts = [
        account("a", terms=Terms(models=("grok-3*",)), **listing("grok-3", "grok-4.3")),
        account("b", terms=Terms(models=("grok-4.3",)), **listing("grok-3", "grok-4.3")),
    ]
    router = router_of(*accounts)

    assert {"grok-3", "grok-4.3"} <= set(names(router))
    assert ids(planned(router, "grok-4.3")) == ["b"]
