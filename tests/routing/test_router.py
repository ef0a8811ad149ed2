import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.pools import Pool
from groxy.routing.router import Router
from tests.routing.crew import CATALOG, Clock, account, directory_of, error, router_of


def names(plan):
    return [candidate.account.name for candidate in plan.candidates]


def listed(router):
    return {model if isinstance(model, str) else model.id for model in router.models("chat")}


def refusal(router, model):
    with pytest.raises(GroxyError) as caught:
        router.plan(model, "chat")
    return caught.value


def test_a_basic_model_is_served_by_the_smallest_pool_first():
    router = router_of(
        account("big", pool=Pool.HEAVY),
        account("small", pool=Pool.BASIC),
        account("middle", pool=Pool.SUPER),
    )

    assert names(router.plan("grok-4.3", "chat")) == ["small", "middle", "big"]


def test_a_model_that_prefers_the_best_is_served_by_the_largest_pool_first():
    router = router_of(account("small", pool=Pool.BASIC), account("big", pool=Pool.HEAVY))

    assert names(router.plan("grok-4.20-fast", "chat")) == ["big", "small"]


def test_a_model_of_a_tier_is_not_served_by_a_smaller_pool():
    router = router_of(account("small", pool=Pool.BASIC))

    assert refusal(router, "grok-4.20-0309-heavy").kind is ErrorKind.UNKNOWN_MODEL


def test_a_retired_name_sends_its_replacement():
    plan = router_of(account("a")).plan("grok-4", "chat")

    assert plan.candidates[0].model_sent == "grok-4.3"


def test_an_upstream_that_still_lists_a_retired_name_gets_it():
    plan = router_of(account("a", models=["grok-4", "grok-4.3"])).plan("grok-4", "chat")

    assert plan.candidates[0].model_sent == "grok-4"


def test_a_name_that_fixes_the_effort_says_so():
    plan = router_of(account("a")).plan("grok-4.3-high", "chat")

    assert (plan.candidates[0].model_sent, plan.effort) == ("grok-4.3", "high")


@pytest.mark.parametrize(
    ("upstream", "sent"),
    [("xai", "grok-4.3"), ("openrouter", "x-ai/grok-4.3"), ("cometapi", "grok-4.3")],
)
def test_each_upstream_gets_its_own_id(upstream, sent):
    plan = router_of(account("a", upstream=upstream)).plan("grok-4.3", "chat")

    assert plan.candidates[0].model_sent == sent


def test_an_account_whose_own_list_lacks_the_model_does_not_serve_it():
    router = router_of(account("lacks", models=["grok-4.7"]), account("has", models=["grok-4.3"]))

    assert names(router.plan("grok-4.3", "chat")) == ["has"]


def test_a_model_that_only_an_upstreams_list_has_is_served():
    router = router_of(account("a", models=["grok-9"]))

    assert router.plan("grok-9", "chat").candidates[0].model_sent == "grok-9"


def test_a_plain_server_without_a_list_is_asked_for_anything():
    router = router_of(account("mine", upstream="openai_compatible"))

    assert router.plan("llama", "chat").candidates[0].model_sent == "llama"


def test_an_unknown_model_is_refused_and_the_list_pointed_to():
    refused = refusal(router_of(account("a")), "nope")

    assert (refused.kind, refused.param) == (ErrorKind.UNKNOWN_MODEL, "model")
    assert "GET /v1/models" in refused.message


def test_a_picture_model_is_refused_for_text():
    refused = refusal(router_of(account("a")), "grok-imagine-image")

    assert refused.kind is ErrorKind.BAD_REQUEST
    assert "image" in refused.message


def test_a_resting_account_is_left_out_until_its_rest_is_over():
    clock = Clock()
    tired, fresh = account("tired"), account("fresh")
    directory = directory_of(tired, fresh, clock=clock)
    router = Router(CATALOG, directory, max_candidates=3)
    directory.note_failure(tired, error(ErrorKind.UPSTREAM_LIMITED, wait_s=10))

    assert names(router.plan("grok-4.3", "chat")) == ["fresh"]
    clock.now += 11
    assert sorted(names(router.plan("grok-4.3", "chat"))) == ["fresh", "tired"]


def test_a_doubtful_account_comes_last():
    shaky, fresh = account("shaky", in_flight=0), account("fresh", in_flight=50)
    directory = directory_of(shaky, fresh)
    for _ in range(3):
        directory.note_failure(shaky, error(ErrorKind.UPSTREAM_DOWN))

    plan = Router(CATALOG, directory, max_candidates=3).plan("grok-4.3", "chat")

    assert names(plan) == ["fresh", "shaky"]


def test_when_all_are_at_their_limit_the_caller_is_told_how_long_to_wait():
    clock = Clock()
    one, two = account("one"), account("two")
    directory = directory_of(one, two, clock=clock)
    directory.note_failure(one, error(ErrorKind.UPSTREAM_LIMITED, wait_s=30))
    directory.note_failure(two, error(ErrorKind.UPSTREAM_LIMITED, wait_s=12))

    refused = refusal(Router(CATALOG, directory, max_candidates=3), "grok-4.3")

    assert (refused.facts.status, refused.retry_after_s) == (429, 12)


def test_when_all_credentials_are_rejected_it_is_a_503_and_never_a_401():
    only = account("only")
    directory = directory_of(only)
    directory.note_failure(only, error(ErrorKind.UPSTREAM_AUTH))

    refused = refusal(Router(CATALOG, directory, max_candidates=3), "grok-4.3")

    assert refused.facts.status == 503
    assert refused.retry_after_s is not None


def test_the_least_busy_account_comes_first():
    router = router_of(account("busy", in_flight=9), account("idle"), account("some", in_flight=3))

    assert names(router.plan("grok-4.3", "chat")) == ["idle", "some", "busy"]


def test_equally_idle_accounts_take_turns():
    router = router_of(*(account(str(number)) for number in range(4)))

    firsts = [names(router.plan("grok-4.3", "chat"))[0] for _ in range(1_000)]

    assert all(150 < firsts.count(str(number)) < 350 for number in range(4))


def test_no_more_candidates_than_the_limit():
    router = router_of(*(account(str(number)) for number in range(9)), most=2)

    assert len(router.plan("grok-4.3", "chat").candidates) == 2


def test_ten_thousand_accounts_cost_little_more_than_ten():
    router = router_of(*(account(str(number)) for number in range(10_000)))
    router.plan("grok-4.3", "chat")

    began = time.perf_counter()
    for _ in range(200):
        router.plan("grok-4.3", "chat")

    assert (time.perf_counter() - began) / 200 < 0.001


def test_names_that_callers_make_up_do_not_fill_the_memory():
    router = router_of(account("mine", upstream="openai_compatible"))
    for number in range(20_000):
        router.plan(f"made-up-{number}", "chat")

    assert len(router._able) < 10_000


def test_models_are_listed_while_any_account_can_serve_them():
    basic = listed(router_of(account("a", pool=Pool.BASIC)))
    heavy = listed(router_of(account("a", pool=Pool.HEAVY)))

    assert "grok-4.3" in basic
    assert "grok-4.20-0309-heavy" in heavy - basic


def test_models_of_a_rejected_credential_are_not_listed():
    only = account("only")
    directory = directory_of(only)
    directory.note_failure(only, error(ErrorKind.UPSTREAM_AUTH))

    assert Router(CATALOG, directory, max_candidates=3).models("chat") == []


def test_a_model_can_be_looked_up_by_another_spelling():
    router = router_of(account("a"))

    assert router.model("x-ai/grok-4.3", "chat") is not None
    assert router.model("nope", "chat") is None
