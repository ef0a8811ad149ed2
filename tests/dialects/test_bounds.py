"""What a request says of its cost, in every dialect: checked, kept from upstreams, and lowered."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.dialects._base import Asked, OutputBound
from groxy.dialects._bounds import count_entries, count_tools, lowered, read_max_cost
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.images import DIALECT as IMAGES
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES

DIALECTS: dict[str, Any] = {
    one.name: one for one in (CHAT, RESPONSES, MESSAGES, COMPLETIONS, EMBEDDINGS, IMAGES)
}
TEXT = ("chat", "responses", "messages", "completions")
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": "Hi"},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50},
    "completions": {"prompt": "Hi"},
    "embeddings": {"input": "Hi"},
    "images": {"prompt": "A cat"},
}
TOKENS = {
    "chat": "max_completion_tokens",
    "responses": "max_output_tokens",
    "messages": "max_tokens",
    "completions": "max_tokens",
}
NUMBERS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of")
TRICKS = (
    "-1",
    "0",
    "-0",
    "9223372036854775808",
    "18446744073709551617",
    "1e309",
    "-1e309",
    "1e3",
    "1.5",
    "1.0",
    "true",
    "false",
    '"1e3"',
    '"5"',
    '"NaN"',
    '"Infinity"',
    "[5]",
    '{"a":5}',
)
every_dialect = pytest.mark.parametrize("name", list(DIALECTS))
every_text_dialect = pytest.mark.parametrize("name", TEXT)


def body_of(name: str, **raw: str) -> bytes:
    """A body with these fields, as JSON text, in place of its own."""
    fields = {"model": '"grok-4.7"'} | {key: json.dumps(one) for key, one in ASKED[name].items()}
    return ("{" + ",".join(f'"{key}":{one}' for key, one in (fields | raw).items()) + "}").encode()


def ask(name: str, **raw: str) -> Asked:
    asked: Asked = DIALECTS[name].decode_request(body_of(name, **raw))
    return asked


def sent(name: str, asked: Asked) -> dict[str, Any]:
    """What an upstream of the same dialect gets."""
    fields = DIALECTS[name].outgoing(asked, model="m", effort=None, stream=False)
    return {key: json.loads(bytes(raw)) for key, raw in fields.items()}


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("field", NUMBERS)
@every_text_dialect
def test_a_number_trick_is_refused_with_the_fields_name(name, field, trick) -> None:
    with pytest.raises(GroxyError) as caught:
        ask(name, **{field: trick})
    assert caught.value.param == field
    assert caught.value.facts.status == 400
    assert f"`{field}`" in caught.value.message


@pytest.mark.parametrize("trick", ["NaN", "Infinity", "-Infinity", "0x10", "+1", "1_000", "01"])
@pytest.mark.parametrize("field", [*NUMBERS, "max_cost"])
@every_text_dialect
def test_what_is_no_json_is_refused_whole(name, field, trick) -> None:
    with pytest.raises(GroxyError) as caught:
        ask(name, **{field: trick})
    assert caught.value.facts.status == 400


@pytest.mark.parametrize(("field", "most"), [("n", 128), ("best_of", 128), ("max_tokens", 2**31)])
@every_text_dialect
def test_the_greatest_numbers_are_taken_and_none_beyond_them(name, field, most) -> None:
    with pytest.raises(GroxyError) as caught:
        ask(name, **{field: str(most + 1)})
    assert caught.value.param == field
    assert f"{most}" in caught.value.message
    if name != "completions":  # It takes `best_of` only as another word for `n`.
        ask(name, **{field: str(most)})


# --------------------------------------------------------------------------------------- max_cost


@pytest.mark.parametrize("written", ["0.05", '"0.05"'])
@every_dialect
def test_max_cost_is_read_and_goes_nowhere(name, written) -> None:
    asked = ask(name, max_cost=written)
    assert asked.max_cost_ticks == 500_000_000
    assert "max_cost" not in asked.fields


@every_text_dialect
def test_no_upstream_gets_max_cost(name) -> None:
    asked = ask(name, max_cost="1")
    assert "max_cost" not in sent(name, asked)
    assert DIALECTS[name].canonical(asked).left_out == ()


@pytest.mark.parametrize("written", [None, "null"])
@every_dialect
def test_without_max_cost_there_is_none(name, written) -> None:
    fields = {} if written is None else {"max_cost": written}
    asked = ask(name, **fields)
    assert asked.max_cost_ticks is None
    assert "max_cost" not in asked.fields


NO_AMOUNTS = [one for one in TRICKS if one not in {"1.5", "1.0", '"5"'}]
"""In one order: tests that run side by side have to be collected alike."""


@pytest.mark.parametrize("trick", [*NO_AMOUNTS, '""', "0.00000000001"])
@every_dialect
def test_a_max_cost_that_is_no_amount_is_refused(name, trick) -> None:
    with pytest.raises(GroxyError) as caught:
        ask(name, max_cost=trick)
    assert caught.value.param == "max_cost"
    assert caught.value.facts.status == 400


def test_of_several_max_costs_the_last_counts() -> None:
    body = body_of("chat", max_cost="5").replace(b'"max_cost":5', b'"max_cost":5,"max_cost":1')
    asked = CHAT.decode_request(body)
    assert asked.max_cost_ticks == 10_000_000_000
    assert "max_cost" not in asked.fields


def test_the_least_amount_is_a_tick() -> None:
    assert read_max_cost(Raw(b"0.0000000001")) == 1


def test_a_kept_reply_knows_nothing_of_max_cost() -> None:
    asked = ask("responses", max_cost="1")
    record = b'{"response":{"id":"resp_1"},"output":[]}'
    assert b"max_cost" not in RESPONSES.remembered(asked, record)[1]


# ----------------------------------------------------------------------------------------- bounds


@every_text_dialect
def test_what_the_caller_named_is_the_bound(name) -> None:
    asked = ask(name, **{TOKENS[name]: "77"})
    assert DIALECTS[name].bound_of(asked) == OutputBound(choices=1, max_tokens=77)


@pytest.mark.parametrize("name", ["chat", "responses", "completions"])
def test_a_caller_who_named_nothing_has_no_bound(name) -> None:
    assert DIALECTS[name].bound_of(ask(name)).max_tokens is None
    assert DIALECTS[name].bound_of(ask(name, **{TOKENS[name]: "null"})).max_tokens is None


@pytest.mark.parametrize("name", ["embeddings", "images"])
def test_what_has_no_tokens_of_output_is_bounded_by_none(name) -> None:
    asked = ask(name)
    assert DIALECTS[name].bound_of(asked) == OutputBound(choices=1, max_tokens=0)
    assert DIALECTS[name].bounded(asked, 5) is asked


@pytest.mark.parametrize("stream", ["true", "false"])
@every_text_dialect
def test_a_lower_bound_reaches_the_upstream_on_both_lanes(name, stream) -> None:
    dialect = DIALECTS[name]
    asked = ask(name, stream=stream, **{TOKENS[name]: "77"})
    lower = dialect.bounded(asked, 20)
    assert sent(name, lower)[TOKENS[name]] == 20
    assert dialect.canonical(lower).options.max_output_tokens == 20
    assert dialect.bound_of(lower).max_tokens == 20


@every_text_dialect
def test_a_bound_where_there_was_none(name) -> None:
    asked = ask(name, **({"max_tokens": "null"} if name == "completions" else {}))
    asked.fields.pop(TOKENS[name], None)
    lower = DIALECTS[name].bounded(asked, 20)
    assert sent(name, lower)[TOKENS[name]] == 20


@every_text_dialect
def test_the_callers_request_stays_as_it_is(name) -> None:
    asked = ask(name, max_cost="1", **{TOKENS[name]: "77"})
    before = {key: bytes(raw) for key, raw in asked.fields.items()}
    lower = DIALECTS[name].bounded(asked, 20)
    assert {key: bytes(raw) for key, raw in asked.fields.items()} == before
    assert lower.max_cost_ticks == asked.max_cost_ticks
    assert sent(name, lower) | {TOKENS[name]: 77} == sent(name, asked)


@every_text_dialect
def test_no_bound_becomes_higher(name) -> None:
    lower = DIALECTS[name].bounded(ask(name, **{TOKENS[name]: "77"}), 1000)
    assert sent(name, lower)[TOKENS[name]] == 77


@given(st.integers(1, 2**31), st.integers(-5, 2**40))
def test_a_lowered_bound_is_one_that_callers_could_have_sent(was: int, most: int) -> None:
    asked = ask("chat", max_tokens=str(was))
    lower = lowered(asked, most, ("max_completion_tokens", "max_tokens"))
    written = sent("chat", lower)
    assert written["max_tokens"] == min(was, max(most, 1))
    CHAT.decode_request(json.dumps(written).encode())


# ------------------------------------------------------------------------------------------ tools


@pytest.mark.parametrize("written", [b"null", b"{}", b'"x"', b"[1]", b'[{"type":1}]'])
def test_what_is_no_list_of_objects_has_no_entries(written) -> None:
    assert count_entries(Raw(written)) == 0
    assert count_tools(Raw(written), ()) == 0


def test_tools_of_callers_do_not_count() -> None:
    tools = Raw(b'[{"type":"function"},{"type":"web_search"},{"type":"new"},{}]')
    assert count_tools(tools, ("function", None)) == 2
    assert count_entries(tools) == 4
    assert count_tools(None, ()) == count_entries(None) == 0
