import pytest
from hypothesis import given, strategies as st

from groxy.core.preferences import Preferences, SortBy
from groxy.routing.catalog import Catalog
from groxy.routing.router import Router
from groxy.routing.suffixes import SuffixedName, read_suffixes
from tests.routing.fleet import account, directory_of, ids, listing, planned, router_of, sent


@pytest.mark.parametrize(
    ("asked", "base", "suffix", "sort"),
    [
        ("grok-4.3", "grok-4.3", "", None),
        ("grok-4.3:nitro", "grok-4.3", ":nitro", SortBy.THROUGHPUT),
        ("x-ai/grok-4.3:floor", "x-ai/grok-4.3", ":floor", SortBy.PRICE),
        ("grok-4.3:online", "grok-4.3", ":online", None),
        ("grok-4.3:free", "grok-4.3", ":free", None),
        ("grok-4.3:extended", "grok-4.3", ":extended", None),
        ("grok-4.3:exacto", "grok-4.3", ":exacto", None),
        ("grok-4.3:thinking", "grok-4.3", ":thinking", None),
        ("grok-4.3:online:nitro", "grok-4.3", ":online:nitro", SortBy.THROUGHPUT),
        ("grok-4.3:floor:nitro", "grok-4.3", ":floor:nitro", SortBy.PRICE),
        ("llama3:8b", "llama3:8b", "", None),
        ("llama3:8b:nitro", "llama3:8b", ":nitro", SortBy.THROUGHPUT),
        ("grok-4.3:NITRO", "grok-4.3:NITRO", "", None),
        ("grok-4.3:", "grok-4.3:", "", None),
        (":nitro", ":nitro", "", None),
        ("", "", "", None),
    ],
)
def test_a_name_is_read_in_its_parts(asked, base, suffix, sort):
    assert read_suffixes(asked) == SuffixedName(base, suffix, sort)


@given(st.text(alphabet=":nitrofle"))
def test_the_parts_make_the_name(asked):
    named = read_suffixes(asked)

    assert named.base + named.suffix == asked


# ---------------------------------------------------------------------------------------- in plans


@pytest.mark.parametrize("suffix", ["nitro", "floor", "online", "free", "exacto", "thinking"])
def test_a_suffix_is_taken_off(suffix):
    assert sent(planned(router_of(account()), f"grok-4.3:{suffix}")) == ["grok-4.3"]


def test_a_suffix_goes_on_to_an_upstream_that_reads_it():
    router = router_of(account("a", "openrouter"), account("b", "xai"))

    plan = planned(router, "x-ai/grok-4.3:online")

    assert dict(zip(ids(plan), sent(plan), strict=True)) == {
        "a": "x-ai/grok-4.3:online",
        "b": "grok-4.3",
    }


def test_a_name_that_an_account_lists_is_no_name_with_a_suffix():
    router = router_of(account(upstream="openai_compatible", **listing("llama:free", "llama")))

    assert sent(planned(router, "llama:free")) == ["llama:free"]


def test_a_model_of_the_operator_is_no_name_with_a_suffix():
    catalog = Catalog.load({"mine:free": {"sends": "grok-4.7"}})
    router = Router(catalog, directory_of(account()), max_candidates=3)

    assert sent(planned(router, "mine:free")) == ["grok-4.7"]


def test_a_colon_alone_makes_no_suffix():
    router = router_of(account(upstream="openai_compatible"))

    assert sent(planned(router, "llama3:8b")) == ["llama3:8b"]


def test_nitro_puts_the_fastest_account_first(monkeypatch):
    monkeypatch.setattr("groxy.routing.choice._LOOKS_AROUND", 0)
    router = router_of(account("slow", tokens_per_s=9), account("fast", tokens_per_s=90))

    assert ids(planned(router, "grok-4.3:nitro")) == ["fast", "slow"]


def test_floor_puts_the_cheapest_model_first():
    plan = planned(router_of(account()), "grok-4.7:floor", fallbacks=("grok-4.3",))

    assert sent(plan) == ["grok-4.3", "grok-4.7"]


def test_a_wish_in_the_request_is_stronger_than_the_suffix(monkeypatch):
    monkeypatch.setattr("groxy.routing.choice._LOOKS_AROUND", 0)
    accounts = [
        account("quick", first_event_s=0.1, tokens_per_s=9),
        account("fast", first_event_s=9, tokens_per_s=90),
    ]
    wished = Preferences(sort=SortBy.LATENCY)

    plan = planned(router_of(*accounts), "grok-4.3:nitro", preferences=wished)

    assert ids(plan) == ["quick", "fast"]
