import pytest

from groxy.routing.aliases import Aliases, claude_id, is_claude_id
from groxy.routing.catalog import Catalog
from groxy.routing.router import Router
from tests.routing.fleet import account, directory_of, listing, planned, refusal, sent

TABLE = {"mine": "grok-4.7", "gpt-*": "grok-4.3", "gpt-4*": "grok-4.6", "gpt-4o": "grok-4.5"}


def test_aliases_without_a_wildcard_are_exact():
    assert Aliases(TABLE).exact == {"mine": "grok-4.7", "gpt-4o": "grok-4.5"}


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("gpt-3", "grok-4.3"),
        ("gpt-", "grok-4.3"),
        ("gpt-4", "grok-4.6"),
        ("gpt-4o-mini", "grok-4.6"),
        ("GPT-4", None),
        ("my-gpt-4", None),
        ("gpt", None),
        ("", None),
    ],
)
def test_the_longest_pattern_counts(asked, target):
    assert Aliases(TABLE).matching(asked) == target


def test_a_lone_star_matches_anything():
    assert Aliases({"*": "grok-4.3", "a*": "grok-4.7"}).matching("") == "grok-4.3"
    assert Aliases({"*": "grok-4.3", "a*": "grok-4.7"}).matching("ab") == "grok-4.7"


def test_a_claude_id_has_no_dots():
    assert claude_id("grok-4.20-0309-reasoning") == "claude-grok-4-20-0309-reasoning"


@pytest.mark.parametrize(
    ("name", "is_one"), [("claude-3", True), ("grok-4.7", False), ("claude", False), ("", False)]
)
def test_a_claude_id_is_told_by_its_beginning(name, is_one):
    assert is_claude_id(name) is is_one


# ---------------------------------------------------------------------------------------- in plans


@pytest.fixture
def aliased():
    table = {"mine": "grok-4.7", "claude-*": "grok-4.3", "gpt-*": "llama"}
    directory = directory_of(
        account(), account("b", "openai_compatible", **listing("llama", "grok-4.7"))
    )
    return Router(Catalog.load({}, table), directory, max_candidates=3)


@pytest.mark.parametrize(
    ("asked", "model_sent"),
    [
        ("mine", "grok-4.7"),
        ("mine:nitro", "grok-4.7"),
        ("claude-opus-4-1", "grok-4.3"),
        ("claude-opus-4-1:online", "grok-4.3"),
        ("claude-grok-4-7", "grok-4.7"),
        ("gpt-4o", "llama"),
    ],
)
def test_an_alias_is_planned_like_what_it_stands_for(aliased, asked, model_sent):
    plan = planned(aliased, asked)

    assert set(sent(plan)) == {model_sent}
    model = aliased._catalog.find(model_sent)
    assert all(one.target.model is model for one in plan.candidates)


def test_an_alias_is_found_as_the_model_that_it_stands_for(aliased):
    assert aliased.model("mine") is aliased._catalog.find("grok-4.7")
    assert aliased.model("gpt-5") == "llama"
    assert aliased.model("claude-grok-4-3") is aliased._catalog.find("grok-4.3")


def test_an_alias_of_nothing_is_refused_by_its_own_name():
    router = Router(
        Catalog.load({}, {"mine": "nothing"}), directory_of(account()), max_candidates=3
    )

    assert "`mine`" in refusal(router, "mine").message
