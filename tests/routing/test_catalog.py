import time
import tomllib
from datetime import date
from decimal import Decimal

import pytest

from groxy.core.money import TICKS_PER_USD, cost_of, usd_from_ticks
from groxy.core.usage import Usage
from groxy.routing.catalog import Capability, Catalog
from groxy.routing.entries import _FILE
from groxy.routing.pools import Pool

CATALOG = Catalog.load()
BY_ID = {model.id: model for model in CATALOG.models()}

# Every model id that clients of such gateways are told to use: name, mode, tier, best first.
GATEWAY_NAMES = [
    ("grok-4.20-0309", "auto", "super", False),
    ("grok-4.20-0309-reasoning", "expert", "super", False),
    ("grok-4.20-0309-non-reasoning", "fast", "basic", False),
    ("grok-4.20-0309-super", "auto", "super", False),
    ("grok-4.20-0309-reasoning-super", "expert", "super", False),
    ("grok-4.20-0309-non-reasoning-super", "fast", "super", False),
    ("grok-4.20-0309-heavy", "auto", "heavy", False),
    ("grok-4.20-0309-reasoning-heavy", "expert", "heavy", False),
    ("grok-4.20-0309-non-reasoning-heavy", "fast", "heavy", False),
    ("grok-4.20-multi-agent-0309", "heavy", "heavy", False),
    ("grok-4.20-fast", "fast", "basic", True),
    ("grok-4.3-fast", "fast", "basic", True),
    ("grok-4.20-auto", "auto", "super", True),
    ("grok-4.20-expert", "expert", "super", True),
    ("grok-4.20-heavy", "heavy", "heavy", True),
    ("grok-4.3-beta", "grok43", "super", False),
]
CONSOLE_NAMES = [
    ("grok-4.3-console", "grok-4.3", None),
    ("grok-4.3-low", "grok-4.3", "low"),
    ("grok-4.3-medium", "grok-4.3", "medium"),
    ("grok-4.3-high", "grok-4.3", "high"),
    ("grok-4.20-0309-reasoning-console", "grok-4.20-0309-reasoning", None),
    ("grok-4.20-0309-console", "grok-4.20-0309-reasoning", None),
    ("grok-4.20-0309-non-reasoning-console", "grok-4.20-0309-non-reasoning", None),
    ("grok-4.20-multi-agent-console", "grok-4.20-multi-agent-0309", None),
    ("grok-4.20-multi-agent-low", "grok-4.20-multi-agent-0309", "low"),
    ("grok-4.20-multi-agent-medium", "grok-4.20-multi-agent-0309", "medium"),
    ("grok-4.20-multi-agent-high", "grok-4.20-multi-agent-0309", "high"),
    ("grok-4.20-multi-agent-xhigh", "grok-4.20-multi-agent-0309", "xhigh"),
    ("grok-build-console", "grok-build-0.1", None),
]
MEDIA_NAMES = [
    ("grok-imagine-image-lite", Capability.IMAGE),
    ("grok-imagine-image", Capability.IMAGE),
    ("grok-imagine-image-pro", Capability.IMAGE),
    ("grok-imagine-image-edit", Capability.IMAGE_EDIT),
    ("grok-imagine-video", Capability.VIDEO),
]
OLD_NAMES = [
    *("grok-4", "grok-4-0709", "grok-4-fast", "grok-4-fast-reasoning"),
    *("grok-4-fast-non-reasoning", "grok-4.1", "grok-4.1-fast", "grok-4.1-thinking", "grok-4.2"),
    *("grok-3", "grok-3-beta", "grok-3-mini", "grok-3-mini-beta"),
    *("grok-2", "grok-2-1212", "grok-2-mini", "grok-2-vision-1212"),
    *("grok-beta", "grok-vision-beta"),
    *("x-ai/grok-4", "x-ai/grok-3", "x-ai/grok-3-mini", "x-ai/grok-2-1212", "x-ai/grok-beta"),
]
ALL_NAMES = [
    *(name for name, *_ in GATEWAY_NAMES),
    *(name for name, *_ in CONSOLE_NAMES),
    *(name for name, _ in MEDIA_NAMES),
    *OLD_NAMES,
]


def found(name):
    return found_in(CATALOG, name)


def found_in(catalog, name):
    model = catalog.find(name)
    assert model is not None
    return model


def dollars(price):
    return tuple(
        usd_from_ticks(getattr(price, part)) for part in ("input", "cached_input", "output")
    )


# ------------------------------------------------------------------------------ what resolves


@pytest.mark.parametrize("name", ALL_NAMES)
def test_every_name_that_clients_know_resolves_to_a_model_that_xai_serves_today(name):
    official = BY_ID[found(name).sends]

    assert official.sends == official.id
    assert official.retired is None


@pytest.mark.parametrize(("name", "mode", "tier", "prefer_best"), GATEWAY_NAMES)
def test_a_gateway_name_has_its_mode_tier_and_order(name, mode, tier, prefer_best):
    model = found(name)

    assert (model.mode, model.tier, model.prefer_best) == (mode, Pool(tier), prefer_best)


@pytest.mark.parametrize(("name", "sends", "effort"), CONSOLE_NAMES)
def test_a_console_name_fixes_model_and_effort(name, sends, effort):
    model = found(name)

    assert (model.mode, model.tier) == ("console", Pool.BASIC)
    assert (model.sends, model.effort) == (sends, effort)


@pytest.mark.parametrize(("name", "capability"), MEDIA_NAMES)
def test_a_media_name_has_its_capability_and_any_pool_may_serve_it(name, capability):
    model = found(name)

    assert (model.capability, model.tier) == (capability, Pool.BASIC)


@pytest.mark.parametrize("name", OLD_NAMES)
def test_an_old_name_may_be_served_by_any_pool_and_says_why_it_maps_so(name):
    model = found(name)

    assert (model.tier, model.mode) == (Pool.BASIC, "official")
    assert model.why


@pytest.mark.parametrize("vendor", ["x-ai", "xai", "grok"])
def test_a_vendor_prefix_changes_nothing(vendor):
    assert CATALOG.find(f"{vendor}/grok-4.7") is CATALOG.find("grok-4.7")
    assert CATALOG.find(f"{vendor}/grok-4.5-latest") is CATALOG.find("grok-4.5")


@pytest.mark.parametrize(
    "name",
    ["", "/", "grok-99", "Grok-4.7", "GROK-4.7", "x-ai/", "openai/grok-4.7", "x-ai/x-ai/grok-4.7"],
)
def test_a_stranger_is_not_found(name):
    assert CATALOG.find(name) is None


@pytest.mark.parametrize(
    ("alias", "model_id"),
    [
        ("grok-4.20", "grok-4.20-0309-reasoning"),
        ("grok-4.20-reasoning-latest", "grok-4.20-0309-reasoning"),
        ("grok-4.20-non-reasoning", "grok-4.20-0309-non-reasoning"),
        ("grok-4.20-multi-agent", "grok-4.20-multi-agent-0309"),
        ("grok-4.3-latest", "grok-4.3"),
        ("grok-build-latest", "grok-4.5"),
        ("grok-4-latest", "grok-4"),
        ("grok-4-1-fast", "grok-4-1-fast-reasoning"),
        ("grok-code-fast", "grok-code-fast-1"),
    ],
)
def test_an_alias_finds_the_model_it_stands_for(alias, model_id):
    assert found(alias).id == model_id


# ----------------------------------------------------------------------- the data as a whole


def test_every_id_is_listed_once():
    tables = tomllib.loads(_FILE.read_text("utf-8"))

    assert len(BY_ID) == len(CATALOG.models())
    assert set(BY_ID) == set().union(*tables.values())
    assert len(BY_ID) == sum(len(table) for table in tables.values())


def test_the_order_of_models_is_stable():
    assert [model.id for model in Catalog.load().models()] == list(BY_ID)


def test_ids_and_aliases_are_unique():
    names = [name for model in CATALOG.models() for name in (model.id, *model.aliases)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", CATALOG.models(), ids=lambda model: model.id)
def test_what_is_sent_is_an_official_id_that_is_not_retired(model):
    official = BY_ID[model.sends]

    assert official.sends == official.id
    assert official.retired is None
    assert official.replacement is None


@pytest.mark.parametrize("model", CATALOG.models(), ids=lambda model: model.id)
def test_a_name_has_all_facts_of_the_model_it_sends(model):
    official = BY_ID[model.sends]

    for fact in ("efforts", "reasons", "rejects", "context_tokens", "price", "media_price"):
        assert getattr(model, fact) == getattr(official, fact), fact
    assert model.dialects == official.dialects
    assert model.upstream_ids == official.upstream_ids
    assert model.created > 0


@pytest.mark.parametrize(
    "model", [model for model in CATALOG.models() if model.retired], ids=lambda model: model.id
)
def test_a_chain_of_retirements_ends_at_a_model_that_is_not_retired(model):
    seen = [model.id]
    while (following := BY_ID[seen[-1]].replacement) is not None:
        assert following not in seen
        seen.append(following)

    assert len(seen) > 1
    assert seen[-1] == model.sends


def test_a_chain_of_two_retirements_is_followed_and_carries_the_quality_that_xai_sets():
    pro = found("grok-imagine-image-pro")

    assert (pro.retired, pro.replacement) == (date(2026, 5, 15), "grok-imagine-image-quality")
    assert found("grok-imagine-image-quality").retired == date(2026, 11, 2)
    assert (pro.sends, pro.quality) == ("grok-imagine-image-2.0", "low")


@pytest.mark.parametrize(
    ("name", "effort"),
    [
        ("grok-4-fast-non-reasoning", "none"),
        ("grok-4-1-fast-non-reasoning", "none"),
        ("grok-3", "none"),
        ("grok-4-fast-reasoning", None),
        ("grok-4-0709", None),
    ],
)
def test_a_retired_id_that_did_not_reason_sends_effort_none(name, effort):
    model = found(name)

    assert (model.sends, model.effort) == ("grok-4.3", effort)
    assert model.retired == date(2026, 5, 15)


def test_the_default_effort_is_one_that_the_model_takes():
    for model in CATALOG.models():
        assert model.default_effort is None or model.default_effort in model.efforts


# ------------------------------------------------------------------------ what a model can do


def test_a_chat_model_without_efforts_rejects_the_field_and_one_with_efforts_does_not():
    for model in CATALOG.models():
        is_chat = model.capability is Capability.CHAT
        assert ("reasoning_effort" in model.rejects) == (is_chat and not model.efforts)


def test_reasoning_models_reject_penalties_and_stop():
    for model in CATALOG.models():
        if model.reasons:
            assert {"presence_penalty", "frequency_penalty", "stop"} <= model.rejects
    assert found("grok-4.20-0309-non-reasoning").rejects == {"reasoning_effort"}


def test_efforts_are_those_of_the_documentation():
    assert found("grok-4.7").efforts == ("low", "medium", "high", "xhigh")
    assert found("grok-4.5").efforts == ("low", "medium", "high")
    assert found("grok-4.3").efforts == ("none", "low", "medium", "high")
    assert found("grok-4.20").efforts == ()


def test_the_multi_agent_model_speaks_responses_only_and_takes_no_functions():
    model = found("grok-4.20-heavy")

    assert model.dialects == {"responses"}
    assert {"tools", "tool_choice"} <= model.rejects


def test_context_windows_are_those_of_the_documentation():
    windows = {"grok-4.7": 500_000, "grok-4.3": 1_000_000, "grok-build-0.1": 256_000}

    assert {name: found(name).context_tokens for name in windows} == windows


def test_openrouter_ids_are_given_only_where_they_are_not_the_usual_form():
    given = {m.id: dict(m.upstream_ids) for m in CATALOG.models() if m.sends == m.id}

    assert {model_id: ids for model_id, ids in given.items() if ids} == {
        "grok-4.20-0309-reasoning": {"openrouter": "x-ai/grok-4.20"},
        "grok-4.20-0309-non-reasoning": {"openrouter": "x-ai/grok-4.20"},
        "grok-4.20-multi-agent-0309": {"openrouter": "x-ai/grok-4.20-multi-agent"},
    }


def test_the_embedding_model_of_the_openapi_document_is_listed_without_a_price():
    model = found("v1")

    assert (model.capability, model.dialects) == (Capability.EMBEDDING, {"embeddings"})
    assert model.price is None


# -------------------------------------------------------------------------------------- prices


@pytest.mark.parametrize(
    ("name", "base", "long"),
    [
        ("grok-4.7", ("2.00", "0.50", "6.00"), ("4.00", "1.00", "12.00")),
        ("grok-4.6", ("2.00", "0.50", "6.00"), ("4.00", "1.00", "12.00")),
        ("grok-4.5", ("2.00", "0.30", "6.00"), ("4.00", "0.60", "12.00")),
        ("grok-4.3", ("1.25", "0.20", "2.50"), ("2.50", "0.40", "5.00")),
        ("grok-4.20", ("1.25", "0.20", "2.50"), ("2.50", "0.40", "5.00")),
        ("grok-4.20-non-reasoning", ("1.25", "0.20", "2.50"), ("2.50", "0.40", "5.00")),
        ("grok-4.20-multi-agent", ("1.25", "0.20", "2.50"), ("2.50", "0.40", "5.00")),
        ("grok-build-0.1", ("1.00", "0.20", "2.00"), ("2.00", "0.40", "4.00")),
    ],
)
def test_token_prices_are_exact(name, base, long):
    price = found(name).price

    assert dollars(price.base) == tuple(Decimal(usd) for usd in base)
    assert dollars(price.long) == tuple(Decimal(usd) for usd in long)
    assert price.long_from_tokens == 200_000


def test_prices_are_whole_ticks():
    assert found("grok-4.3").price.base.input == 12_500_000_000
    assert found("grok-4.3").price.base.cached_input == 2_000_000_000


def test_the_long_prices_begin_at_the_threshold_itself():
    price = found("grok-4.7").price

    assert cost_of(Usage(input_tokens=199_999), price) == 199_999 * 2 * TICKS_PER_USD // 10**6
    assert cost_of(Usage(input_tokens=200_000), price) == 200_000 * 4 * TICKS_PER_USD // 10**6


def test_pictures_cost_by_resolution_and_quality_and_the_dearest_row_when_unsure():
    price = found("grok-imagine-image-2.0").media_price

    assert price.for_image(resolution="1k", quality="low") == 400_000_000
    assert price.for_image(resolution="1k", quality="medium") == 600_000_000
    assert price.for_image(resolution="1k", quality="auto") == 800_000_000
    assert price.for_second() is None
    flat = found("grok-imagine-image-lite").media_price
    assert flat.for_image(resolution="2k", quality="low") == 200_000_000


def test_film_costs_by_resolution_and_per_picture_handed_in():
    price = found("grok-imagine-video").media_price

    assert price.for_second(resolution="480p") == 500_000_000
    assert price.for_second(resolution="720p") == 700_000_000
    assert price.for_second(resolution="4k") == 700_000_000
    assert price.per_input_image == 20_000_000
    assert price.for_image() is None


def test_every_model_has_a_price_but_the_embedding_one():
    unpriced = [m.id for m in CATALOG.models() if m.price is None and m.media_price is None]

    assert unpriced == ["v1"]


@pytest.mark.parametrize(
    ("served", "like"),
    [
        ("grok-4.20-0309-reasoning", "grok-4.20-0309-reasoning"),
        ("x-ai/grok-4.20", "grok-4.20-0309-reasoning"),
        ("grok/grok-4.7", "grok-4.7"),
        ("grok-4.5-latest", "grok-4.5"),
        ("grok-code-fast-1", "grok-build-0.1"),
        ("grok-4-0709", "grok-4.3"),
        ("grok-4.7-0921", "grok-4.7"),
        ("grok-4.7-2026-09-21", "grok-4.7"),
        ("x-ai/grok-4.6-20260812", "grok-4.6"),
        ("grok-4.20-0501-reasoning", "grok-4.20-0309-reasoning"),
        ("x-ai/grok-4-07-09", "grok-4"),
    ],
)
def test_the_price_is_found_by_the_id_that_an_upstream_reports(served, like):
    assert CATALOG.price_of(served) == found(like).price


@pytest.mark.parametrize("served", ["", "gpt-9", "grok-99-0101", "grok-imagine-image", "v1"])
def test_a_stranger_and_a_model_without_token_prices_have_none(served):
    assert CATALOG.price_of(served) is None


# --------------------------------------------------------------------------------------- speed


def test_the_catalog_loads_in_an_instant():
    overrides = {"grok-4.7": {"context": 1}, "mine": {"sends": "grok-4.7"}}
    fastest = min(_seconds_to_load(overrides) for _ in range(5))

    assert fastest < 0.030


def _seconds_to_load(overrides):
    started = time.perf_counter()
    Catalog.load(overrides)
    return time.perf_counter() - started


# ------------------------------------------------------------------------------------- aliases

ALIASED = Catalog.load(
    {"claude-own": {"sends": "grok-4.7"}},
    {
        "mine": "grok-4.7",
        "claude-sonnet-4-5": "grok-4.6",
        "claude-*": "grok-4.3",
        "claude-opus*": "grok-4.7",
        "gpt-4o": "openai/gpt-4o",
        "grok-4": "grok-4.5",
        "claude-picture": "grok-imagine-image",
    },
)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("mine", "grok-4.7"),
        ("claude-sonnet-4-5", "grok-4.6"),
        ("claude-sonnet-4", "grok-4.3"),
        ("claude-opus-4-1", "grok-4.7"),
        ("claude-grok-4-7", "grok-4.7"),
        ("claude-own", "claude-own"),
        ("gpt-4o", "openai/gpt-4o"),
        ("grok-4", "grok-4.5"),
        ("grok-4.3", "grok-4.3"),
        ("x-ai/grok-4.3", "x-ai/grok-4.3"),
        ("llama", "llama"),
        ("", ""),
    ],
)
def test_an_alias_leads_to_the_name_to_go_on_with(asked, name):
    assert ALIASED.resolve(asked) == name


@pytest.mark.parametrize("asked", ["mine", "claude-sonnet-4", "gpt-4o"])
def test_the_operators_aliases_are_no_models(asked):
    assert ALIASED.find(asked) is None


@pytest.mark.parametrize(
    ("asked", "is_known"),
    [("mine", True), ("grok-4.3", True), ("claude-grok-4-3", True), ("claude-x", False)],
)
def test_a_name_that_only_a_pattern_matches_is_not_known_as_it_stands(asked, is_known):
    assert ALIASED.has(asked) is is_known


@pytest.mark.parametrize(
    "model", [model for model in CATALOG.models() if model.capability is Capability.CHAT]
)
def test_every_chat_model_has_a_name_for_anthropics_clients(model):
    name = "claude-" + model.id.replace(".", "-")

    assert found(name) is model
    assert CATALOG.resolve(name) == model.id


@pytest.mark.parametrize("name", ["claude-grok-imagine-image", "claude-v1", "claude-claude-own"])
def test_other_models_have_none(name):
    assert ALIASED.find(name) is None


def test_of_two_models_with_one_such_name_the_first_has_it():
    catalog = Catalog.load({"grok-4-7": {"sends": "grok-4.3"}})

    assert found_in(catalog, "claude-grok-4-7") is found_in(catalog, "grok-4.7")


def test_a_model_of_the_operator_keeps_a_name_that_would_be_built_in():
    catalog = Catalog.load({"claude-grok-4-7": {"sends": "grok-4.3"}})

    assert catalog.resolve("claude-grok-4-7") == "claude-grok-4-7"
    assert found_in(catalog, "claude-grok-4-7").sends == "grok-4.3"


def test_names_for_anthropics_clients_begin_with_what_the_operator_spelled_out():
    named = ALIASED.claude_ids()

    assert named[0] == ("claude-sonnet-4-5", ALIASED.find("grok-4.6"))
    assert named[1] == ("claude-grok-4-7", ALIASED.find("grok-4.7"))


def test_no_name_for_anthropics_clients_stands_twice_or_has_a_star():
    names = [name for name, _ in ALIASED.claude_ids()]

    assert len(names) == len(set(names))
    assert not any("*" in name for name in names)
    assert all(name.startswith("claude-") for name in names)


def test_the_names_for_anthropics_clients_are_in_the_order_of_the_models():
    texts = [model.id for model in CATALOG.models() if model.capability is Capability.CHAT]

    assert [model.id for _, model in CATALOG.claude_ids()] == texts


def test_only_the_model_that_needs_it_gets_its_reasoning_back():
    needing = {model.sends for model in CATALOG.models() if model.replays_reasoning}

    assert needing == {"grok-4.7"}
    assert found("grok-latest").replays_reasoning


def test_prices_of_a_name_are_those_of_tokens_and_of_media():
    catalog = Catalog.load()

    assert catalog.prices_of("grok-4.7") == (catalog.price_of("grok-4.7"), None)
    film = catalog.prices_of("grok-imagine-video")[1]
    assert film is not None
    assert film.for_second(resolution="480p")
    assert catalog.prices_of("nobody's") == (None, None)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("grok-4.7", ("grok-4.7",)),
        ("x-ai/grok-4.7", ("grok-4.7",)),
        ("grok-4.7-2026-08-01", ("grok-4.7",)),
        ("grok-4.3-high", ("grok-4.3-high", "grok-4.3")),
        ("some/stranger", ("some/stranger",)),
    ],
)
def test_a_version_of_a_price_may_stand_under_the_model_or_the_one_that_it_sends(name, ids):
    assert Catalog.load().price_names(name) == ids


def test_a_name_with_a_price_of_its_own_follows_no_other_models_versions():
    own = {"grok-4.3-high": {"price": {"input": "9", "cached": "9", "output": "9"}}}

    assert Catalog.load(own).price_names("grok-4.3-high") == ("grok-4.3-high",)


def test_a_table_may_price_reasoning_requests_and_calls_of_tools_apart():
    prices = {"input": "1", "cached": "1", "output": "6", "reasoning": "2"}
    table = {"price": {**prices, "per_request": "0.001", "per_tool_call": "0.005"}}

    price = Catalog.load({"grok-4.7": table}).price_of("grok-4.7")
    plain = Catalog.load().price_of("grok-4.7")

    assert price is not None
    assert plain is not None
    assert price.base.reasoning == 2 * TICKS_PER_USD
    assert (price.per_request, price.per_tool_call) == (10_000_000, 50_000_000)
    assert price.long == plain.long


def test_what_requests_cost_is_inherited_with_new_prices_of_long_prompts():
    long = {"input": "1", "cached": "1", "output": "6", "from_tokens": 5}
    tables: dict[str, dict[str, object]] = {
        "grok-4.3": {"price": {"per_tool_call": "0.005"}},
        "grok-4.3-high": {"long": long},
    }

    price = Catalog.load(tables).price_of("grok-4.3-high")

    assert price is not None
    assert (price.per_tool_call, price.long_from_tokens) == (50_000_000, 5)
