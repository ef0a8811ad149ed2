import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.candidate import CARRIERS
from groxy.routing.model import Capability
from groxy.routing.wanted import Wanted
from groxy.upstreams._base import Credentials, ModelFacts, Upstream
from tests.routing.fleet import (
    BASIC,
    CATALOG,
    HEAVY,
    SUPER,
    account,
    dialects,
    ids,
    listing,
    planned,
    refusal,
    router_of,
    sent,
)

# ----------------------------------------------------------------------------- tiers and pools


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ("basic-plain", ["basic", "super", "heavy"]),
        ("super-plain", ["super", "heavy"]),
        ("heavy-plain", ["heavy"]),
        ("basic-best", ["heavy", "super", "basic"]),
        ("super-best", ["heavy", "super"]),
        ("heavy-best", ["heavy"]),
        ("grok-4.20-fast", ["heavy", "super", "basic"]),
        ("grok-4.20-0309-non-reasoning", ["basic", "super", "heavy"]),
    ],
)
def test_pools_are_tried_in_the_order_of_the_models_tier(asked, order):
    router = router_of(
        account("super", pool=SUPER), account("heavy", pool=HEAVY), account("basic", pool=BASIC)
    )

    assert ids(planned(router, asked)) == order


@pytest.mark.parametrize(
    ("asked", "pool"), [("super-plain", BASIC), ("heavy-plain", BASIC), ("heavy-best", SUPER)]
)
def test_a_smaller_pool_never_serves_a_larger_model(asked, pool):
    error = refusal(router_of(account(pool=pool)), asked)

    assert (error.kind, error.param) == (ErrorKind.UNKNOWN_MODEL, "model")
    assert "not served by any account" in error.message


def test_a_model_that_the_catalog_lacks_may_come_from_any_pool():
    accounts = [account(pool.value, pool=pool, **listing("own")) for pool in (BASIC, SUPER, HEAVY)]

    assert set(ids(planned(router_of(*accounts), "own"))) == {"basic", "super", "heavy"}


@pytest.mark.parametrize("most", [1, 2, 3, 5, 20])
def test_there_are_never_more_candidates_than_attempts(most):
    accounts = [
        account(f"{pool.value}-{number}", pool=pool)
        for pool in (BASIC, SUPER, HEAVY)
        for number in range(4)
    ]

    plan = planned(router_of(*accounts, most=most), "basic-plain")

    assert len(plan.candidates) == min(most, 12)
    assert len(set(ids(plan))) == len(plan.candidates)


# ------------------------------------------------------------------------- which id is sent


@pytest.mark.parametrize(
    ("upstream", "asked", "id_sent"),
    [
        ("xai", "grok-4.3", "grok-4.3"),
        ("xai", "x-ai/grok-4.3", "grok-4.3"),
        ("xai", "grok-4.3-high", "grok-4.3"),
        ("xai", "grok-3", "grok-4.3"),
        ("openrouter", "grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", "grok-4.20-0309-reasoning", "x-ai/grok-4.20"),
        ("sandbox", "grok-4.3", "grok-4.3"),
        ("openai_compatible", "grok-4.3-high", "grok-4.3-high"),
        ("openai_compatible", "llama-3", "llama-3"),
    ],
)
def test_an_upstream_whose_list_is_not_known_gets_its_usual_id(upstream, asked, id_sent):
    assert sent(planned(router_of(account(upstream=upstream)), asked)) == [id_sent]


@pytest.mark.parametrize(
    ("upstream", "listed", "asked", "id_sent"),
    [
        ("xai", ["grok-4.3"], "grok-4.3-high", "grok-4.3"),
        ("xai", ["grok-3", "grok-4.3"], "grok-3", "grok-3"),
        ("openrouter", ["x-ai/grok-4.3"], "grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", ["x-ai/grok-4.3"], "x-ai/grok-4.3", "x-ai/grok-4.3"),
        ("openrouter", ["grok-4.3"], "grok-4.3", "grok-4.3"),
        ("openrouter", ["anthropic/claude"], "anthropic/claude", "anthropic/claude"),
        ("openai_compatible", ["grok-4.3"], "x-ai/grok-4.3", "grok-4.3"),
        ("openai_compatible", ["llama-3"], "llama-3", "llama-3"),
    ],
)
def test_an_upstream_with_a_list_gets_an_id_of_its_list(upstream, listed, asked, id_sent):
    one = account(upstream=upstream, **listing(*listed))

    assert sent(planned(router_of(one), asked)) == [id_sent]


@pytest.mark.parametrize(
    ("upstream", "listed", "asked"),
    [
        ("xai", ["grok-4.3"], "grok-4.20-fast"),
        ("xai", [], "grok-4.3"),
        ("openrouter", ["anthropic/claude"], "grok-4.3"),
        ("openai_compatible", ["llama-3"], "grok-4.3"),
        ("openai_compatible", ["llama-3"], "llama-3.1"),
        ("openai_compatible", ["llama-3"], "LLAMA-3"),
    ],
)
def test_what_an_upstreams_list_lacks_it_is_not_asked_for(upstream, listed, asked):
    error = refusal(router_of(account(upstream=upstream, **listing(*listed))), asked)

    assert error.kind is ErrorKind.UNKNOWN_MODEL


def test_only_a_plain_server_may_have_a_model_that_nobody_knows():
    accounts = [account("official", "xai"), account("plain", "openai_compatible")]

    assert ids(planned(router_of(*accounts), "llama-3")) == ["plain"]


def test_accounts_at_several_upstreams_each_get_their_own_id():
    accounts = [account("a", "xai", pool=BASIC), account("b", "openrouter", pool=SUPER)]

    plan = planned(router_of(*accounts), "grok-4.3")

    assert list(zip(ids(plan), sent(plan), strict=True)) == [
        ("a", "grok-4.3"),
        ("b", "x-ai/grok-4.3"),
    ]


def test_a_plan_knows_what_the_model_takes_and_the_effort_that_its_name_fixes():
    model = CATALOG.find("grok-4.3-high")
    assert model is not None

    target = planned(router_of(account()), "grok-4.3-high").candidates[0].target

    assert (target.model, target.effort) == (model, "high")
    assert target.facts == ModelFacts(rejects=model.rejects, efforts=model.efforts, reasons=True)


def test_a_plan_for_a_model_that_nobody_knows_claims_nothing():
    plan = planned(router_of(account(upstream="openai_compatible")), "llama-3")
    target = plan.candidates[0].target

    assert (target.model, target.effort, target.facts) == (None, None, ModelFacts())


# ------------------------------------------------------------------------------------ dialects


class Server(Upstream):
    """An upstream that speaks a dialect of its own."""

    name = "server"
    serves_catalog = True
    dialects = ("chat", "odd")


class Translator(Server):
    name = "translator"
    translates_dialects = True


def test_an_upstream_is_not_asked_in_a_dialect_that_it_does_not_speak():
    listed = listing("grok-4.3", "x-ai/grok-4.3")
    accounts = [account("xai"), account("or", "openrouter"), account("b", "xai", **listed)]

    router = router_of(*accounts, account("odd", Translator()))

    assert ids(planned(router, "grok-4.3", "odd")) == ["odd"]


def test_an_upstream_that_translates_serves_a_model_in_any_of_its_dialects():
    assert refusal(router_of(account(upstream=Server())), "grok-4.3", "odd").kind is (
        ErrorKind.UNKNOWN_MODEL
    )
    assert planned(router_of(account(upstream=Translator())), "grok-4.3", "odd").candidates


def test_a_plan_for_one_dialect_is_not_taken_for_another():
    router = router_of(account("both", Translator()), account("chat only", "xai", pool=BASIC))

    sizes = [
        len(planned(router, "grok-4.3", dialect).candidates) for dialect in ("chat", "odd", "chat")
    ]

    assert sizes == [2, 1, 2]


CHAT_CLIENT = ("chat", "responses", "messages")
MESSAGES_CLIENT = ("messages", "responses", "chat")
ALONE = "grok-4.20-multi-agent-0309"
"""It answers on Responses only."""


def speaking(*spoken, **changes):
    """Return an account at a plain server whose operator says what it speaks."""
    credentials = Credentials(api_key="k", options={"dialects": ",".join(spoken)})
    return account(upstream="openai_compatible", credentials=credentials, **changes)


@pytest.mark.parametrize(
    ("upstream", "asked", "carriers", "dialect"),
    [
        ("xai", "grok-4.3", CHAT_CLIENT, "chat"),
        ("xai", "grok-4.3", ("responses", "chat"), "responses"),
        ("xai", "grok-4.3", MESSAGES_CLIENT, "responses"),
        ("xai", ALONE, CHAT_CLIENT, "responses"),
        ("xai", "grok-4.20-heavy", CHAT_CLIENT, "responses"),
        ("xai", "grok-4.20-0309-non-reasoning", ("completions", "chat"), "completions"),
        ("xai", "grok-4.3", ("completions", "chat"), "chat"),
        ("openrouter", "grok-4.3", MESSAGES_CLIENT, "messages"),
        ("openrouter", ALONE, CHAT_CLIENT, "chat"),
        ("cometapi", "grok-4.3", MESSAGES_CLIENT, "chat"),
    ],
)
def test_an_account_is_asked_in_the_first_carrier_that_it_and_the_model_have(
    upstream, asked, carriers, dialect
):
    plan = planned(router_of(account(upstream=upstream)), asked, *carriers)

    assert dialects(plan) == [dialect]


def test_a_model_that_answers_in_one_dialect_is_not_asked_in_another_though_it_is_listed():
    router = router_of(account(**listing(ALONE)))

    assert refusal(router, ALONE, "chat").kind is ErrorKind.UNKNOWN_MODEL
    assert dialects(planned(router, ALONE, *CHAT_CLIENT)) == ["responses"]


def test_accounts_of_one_upstream_may_speak_different_dialects():
    endpoints = [
        account(
            endpoint,
            "cloudflare",
            credentials=Credentials(api_key="k", options={"endpoint": endpoint}),
        )
        for endpoint in ("compat", "provider")
    ]

    plan = planned(router_of(*endpoints), "grok-4.3", "responses", "chat")

    assert dict(zip(ids(plan), dialects(plan), strict=True)) == {
        "compat": "chat",
        "provider": "responses",
    }


@pytest.mark.parametrize(
    ("spoken", "dialect"),
    [
        (("chat", "messages"), "messages"),
        (("chat",), "chat"),
        (("responses", "chat"), "responses"),
    ],
)
def test_a_model_that_the_catalog_lacks_is_asked_in_any_dialect_of_its_server(spoken, dialect):
    plan = planned(router_of(speaking(*spoken)), "llama-3", *MESSAGES_CLIENT)

    assert dialects(plan) == [dialect]


def test_messages_is_for_models_that_answer_on_it_unless_the_upstream_translates():
    plan = planned(router_of(speaking("messages", "chat")), "grok-4.3", *MESSAGES_CLIENT)

    assert dialects(plan) == ["chat"]


def test_a_plain_server_that_speaks_nothing_else_is_asked_in_what_it_speaks():
    plan = planned(router_of(speaking("messages")), "grok-4.3", *CHAT_CLIENT)

    assert dialects(plan) == ["messages"]


def test_without_a_carrier_nobody_can_serve():
    router = router_of(account())

    with pytest.raises(GroxyError) as caught:
        router.plan(Wanted(model="grok-4.3", carriers=()))

    assert caught.value.kind is ErrorKind.UNKNOWN_MODEL


# -------------------------------------------------------------------- tools and their reasoning


@pytest.mark.parametrize(
    ("upstream", "asked", "carriers", "has_tools", "dialect"),
    [
        ("xai", "grok-4.7", CHAT_CLIENT, True, "responses"),
        ("xai", "grok-latest", CHAT_CLIENT, True, "responses"),
        ("xai", "grok-4.7", CHAT_CLIENT, False, "chat"),
        ("xai", "grok-4.3", CHAT_CLIENT, True, "chat"),
        ("xai", "grok-4.7", ("chat",), True, "chat"),
        ("xai", "grok-4.7", ("messages", "chat", "responses"), True, "chat"),
        ("cometapi", "grok-4.7", CHAT_CLIENT, True, "chat"),
        ("openrouter", "grok-4.7", CHAT_CLIENT, True, "responses"),
    ],
)
def test_a_model_that_needs_its_reasoning_back_is_asked_in_responses_when_there_are_tools(
    upstream, asked, carriers, has_tools, dialect
):
    plan = planned(router_of(account(upstream=upstream)), asked, *carriers, has_tools=has_tools)

    assert dialects(plan) == [dialect]


def test_tools_are_remembered_apart_only_for_models_that_mind():
    router = router_of(account())
    for has_tools in (False, True, False, True):
        planned(router, "grok-4.3", *CHAT_CLIENT, has_tools=has_tools)

    assert router._remembered == 1


# --------------------------------------------------------------------------------- capabilities


@pytest.mark.parametrize(
    ("asked", "carriers"),
    [
        ("v1", ("embeddings",)),
        ("grok-4.3", ("chat",)),
        ("grok-4.3", ("messages", "chat")),
        ("grok-4.3", ("completions", "chat")),
    ],
)
def test_a_model_serves_the_dialects_of_its_capability(asked, carriers):
    assert planned(router_of(account()), asked, *carriers).candidates


@pytest.mark.parametrize("capability", list(Capability))
def test_every_capability_has_dialects(capability):
    assert CARRIERS[capability]
