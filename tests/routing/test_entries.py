import dataclasses
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import usd_from_ticks
from groxy.routing.catalog import Capability, Catalog
from groxy.routing.entries import Entry
from groxy.routing.pools import Pool

CATALOG = Catalog.load()
_GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "models.md").read_text("utf-8")


def found(name, catalog=CATALOG):
    model = catalog.find(name)
    assert model is not None
    return model


def refusal_of(overrides):
    with pytest.raises(GroxyError) as caught:
        Catalog.load(overrides)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param is not None
    assert caught.value.message.startswith(caught.value.param)
    return caught.value.param, caught.value.message


def dollars(price):
    return tuple(
        usd_from_ticks(getattr(price, part)) for part in ("input", "cached_input", "output")
    )


def test_no_override_changes_nothing():
    assert Catalog.load({}).models() == CATALOG.models()


def test_an_override_changes_one_entry_and_every_name_that_sends_it():
    catalog = Catalog.load({"grok-4.3": {"price": {"output": "9.99"}, "context": 123_456}})

    for name in ("grok-4.3", "grok-4.3-high", "grok-4", "x-ai/grok-2"):
        model = found(name, catalog)
        assert dollars(model.price.base) == (Decimal("1.25"), Decimal("0.20"), Decimal("9.99"))
        assert model.price.long == found("grok-4.3").price.long
        assert model.context_tokens == 123_456
    assert catalog.price_of("grok-4.3") == found("grok-4.3", catalog).price
    assert catalog.find("grok-4.7") == CATALOG.find("grok-4.7")


def test_an_override_may_move_a_name_to_another_pool():
    catalog = Catalog.load({"grok-4.20-heavy": {"tier": "basic", "prefer_best": False}})

    assert found("grok-4.20-heavy", catalog) == dataclasses.replace(
        found("grok-4.20-heavy"), tier=Pool.BASIC, prefer_best=False
    )


def test_a_new_name_takes_everything_but_its_own_keys_from_the_model_it_sends():
    catalog = Catalog.load(
        {"claude-grok": {"sends": "grok-4.7", "effort": "low", "title": "Grok", "tier": "super"}}
    )

    assert found("claude-grok", catalog) == dataclasses.replace(
        found("grok-4.7"), id="claude-grok", effort="low", title="Grok", tier=Pool.SUPER
    )
    assert catalog.models()[-1].id == "claude-grok"


def test_a_new_name_may_send_an_alias_or_a_retired_id():
    catalog = Catalog.load({"a": {"sends": "grok-4.20"}, "b": {"sends": "grok-4-fast"}})

    assert found("a", catalog).sends == "grok-4.20-0309-reasoning"
    assert found("b", catalog).sends == "grok-4.3"


def test_a_new_name_may_send_another_new_name_whatever_the_order():
    catalog = Catalog.load({"a": {"sends": "b"}, "b": {"sends": "grok-4.3", "effort": "high"}})

    assert (found("a", catalog).sends, found("a", catalog).effort) == ("grok-4.3", "high")


def test_a_new_name_may_be_what_was_an_alias_before():
    catalog = Catalog.load({"grok-4.20": {"sends": "grok-4.7"}})

    assert found("grok-4.20", catalog).sends == "grok-4.7"
    assert "grok-4.20" not in found("grok-4.20-0309-reasoning", catalog).aliases


def test_a_model_that_only_the_operator_knows_stands_on_its_own_facts():
    catalog = Catalog.load(
        {"llama": {"sends": "llama-3.3-70b", "context": 131_072, "dialects": ["chat"]}}
    )
    model = found("llama", catalog)

    assert (model.sends, model.context_tokens, model.price) == ("llama-3.3-70b", 131_072, None)
    assert (model.capability, model.dialects) == (Capability.CHAT, {"chat"})


def test_a_retired_id_that_is_sent_elsewhere_drops_what_belonged_to_its_old_replacement():
    model = found("grok-3", Catalog.load({"grok-3": {"sends": "grok-4.7"}}))

    assert (model.sends, model.effort, model.why) == ("grok-4.7", None, "")
    assert (model.retired, model.replacement) == (date(2026, 5, 15), "grok-4.3")


def test_an_official_id_that_is_sent_elsewhere_costs_what_the_other_costs():
    catalog = Catalog.load({"grok-4.7": {"sends": "grok-4.3"}})

    assert found("grok-4.7", catalog).price == found("grok-4.3").price
    assert found("grok-latest", catalog).sends == "grok-4.3"


@pytest.mark.parametrize(
    ("table", "key", "says"),
    [
        ({"prise": {"input": "1"}}, "prise", "the nearest is `price`"),
        ({"context_tokens": 1}, "context_tokens", "the nearest is `context`"),
        ({"price": {"inputs": "1"}}, "price.inputs", "the nearest is `input`"),
        ({"price": {"input": 2.5}}, "price.input", "in quotes"),
        ({"price": {"input": "-1"}}, "price.input", "in quotes"),
        ({"price": {"input": "1e3"}}, "price.input", "in quotes"),
        ({"price": 3}, "price", "expected `object"),
        ({"long": {"from_tokens": 0}}, "long.from_tokens", ">= 1"),
        ({"media": {"images": {}}}, "media.images", "the nearest is `image`"),
        ({"tier": "ultra"}, "tier", "basic, super, heavy"),
        ({"mode": "turbo"}, "mode", "auto, fast"),
        ({"capability": "song"}, "capability", "chat, image"),
        ({"dialects": ["chats"]}, "dialects[0]", "chat, responses"),
        ({"context": "big"}, "context", "expected `int"),
        ({"context": -1}, "context", ">= 0"),
        ({"rejects": ["stop", 3]}, "rejects[1]", "expected `str`"),
        ({"prefer_best": "yes"}, "prefer_best", "expected `bool`"),
        ({"effort": "none"}, "effort", "the model takes low, medium, high, xhigh"),
        ({"default_effort": "max"}, "default_effort", "the model takes low"),
        ({"sends": "grok-4.33"}, "sends", "the nearest is 'grok-4.3'"),
        ({"sends": ""}, "sends", "length >= 1"),
        ({"aliases": ["grok-4.6"]}, "aliases", "stands for grok-4.6 already"),
        ({"aliases": ["grok-4.20"]}, "aliases", "stands for grok-4.20-0309-reasoning already"),
    ],
)
def test_a_wrong_table_is_refused_and_the_message_names_the_key(table, key, says):
    param, message = refusal_of({"grok-4.7": table})

    assert param == f"models.grok-4.7.{key}"
    assert says in message


def test_a_new_name_must_say_what_it_sends():
    param, _ = refusal_of({"mine": {"tier": "basic"}})

    assert param == "models.mine.sends"


def test_a_table_for_an_alias_is_refused_with_the_id_to_use():
    param, message = refusal_of({"grok-4.20": {"tier": "basic"}})

    assert param == "models.grok-4.20.sends"
    assert "change models.grok-4.20-0309-reasoning instead" in message


def test_a_price_must_be_whole_where_there_was_none_to_change():
    param, _ = refusal_of({"mine": {"sends": "grok-4.7", "price": {"output": "9"}}})

    assert param == "models.mine.price.input"


def test_names_that_send_each_other_are_refused():
    param, message = refusal_of({"a": {"sends": "b"}, "b": {"sends": "a"}})

    assert param == "models.a.sends"
    assert "a > b > a" in message


def test_two_names_may_not_share_an_alias():
    param, message = refusal_of(
        {
            "a": {"sends": "grok-4.7", "aliases": ["mine"]},
            "b": {"sends": "grok-4.6", "aliases": ["mine"]},
        }
    )

    assert param == "models.b.aliases"
    assert "stands for a already" in message


def test_the_example_of_the_guide_works():
    example = _GUIDE.split("```toml")[1].split("```")[0]
    catalog = Catalog.load(tomllib.loads(example)["models"])

    assert dollars(found("grok-latest", catalog).price.long)[0] == Decimal("3.60")
    assert found("grok-4.20-heavy", catalog).tier is Pool.BASIC
    assert (found("grok-4", catalog).sends, found("grok-4", catalog).effort) == ("grok-4.7", "low")
    assert found("claude-grok", catalog).title == "Grok 4.7"
    assert found("llama", catalog).sends == "llama-3.3-70b-instruct"


@pytest.mark.parametrize("key", [field.name for field in msgspec.structs.fields(Entry)])
def test_the_guide_explains_every_key(key):
    rows = [line.split(" | ")[0] for line in _GUIDE.splitlines() if line.startswith("| `")]

    assert any(f"`{key}`" in row for row in rows)
