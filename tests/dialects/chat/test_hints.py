"""What a chat request says of its way: carriers, conversations, wishes."""

import json
from decimal import Decimal
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.preferences import NONE, Preferences, SortBy
from groxy.dialects.chat.hints import (
    SERVER_TOOLS,
    carriers,
    conversation,
    may_name_files,
    parts_of,
    preferences,
)
from groxy.dialects.chat.request import decode_request
from groxy.dialects.chat.shapes import Chat, chat_decoder

HELLO = [{"role": "user", "content": "Hello"}]
LOOK = {"type": "function", "function": {"name": "look"}}


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "grok-4", "messages": HELLO} | fields).encode()


def _chat(**fields: Any) -> Chat:
    return chat_decoder.decode(_body(**fields))


def carriers_of(chat: Chat) -> tuple[str, ...]:
    return carriers(chat, parts_of(chat))


def _wishes(**provider: Any) -> Preferences:
    return decode_request(_body(provider=provider)).preferences


def _refused(**provider: Any) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        _wishes(**provider)
    return caught.value


# ---------------------------------------------------------------------------------------- carriers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ()),
        ({"n": 1}, ()),
        ({"n": 2}, ("chat",)),
        ({"tools": [LOOK]}, ()),
        ({"tools": [{"type": "live_search", "sources": []}]}, ()),
        ({"tools": [LOOK, {"type": "web_search"}]}, ("responses", "chat")),
        ({"tools": [{"type": "custom"}]}, ("chat",)),
        ({"tools": [{"type": "openrouter:web_search"}]}, ("chat",)),
        ({"n": 2, "tools": [{"type": "web_search"}]}, ("chat",)),
        ({"search_parameters": {}}, ("responses", "chat")),
        ({"search_parameters": {"mode": "auto"}}, ("responses", "chat")),
        ({"search_parameters": {"mode": "off"}}, ()),
        ({"search_parameters": None}, ()),
        ({"web_search_options": {}}, ()),
    ],
)
def test_a_request_says_who_can_carry_it(fields, expected):
    assert carriers_of(_chat(**fields)) == expected


@pytest.mark.parametrize("kind", sorted(SERVER_TOOLS))
def test_tools_that_the_upstream_runs_want_responses(kind):
    assert carriers_of(_chat(tools=[{"type": kind}])) == ("responses", "chat")


def test_sound_is_for_chat_alone():
    content = [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]
    assert carriers_of(_chat(messages=[{"role": "user", "content": content}])) == ("chat",)


@pytest.mark.parametrize(
    "fields",
    [
        {"functions": [{"name": "look"}]},
        {"function_call": "auto"},
        {"messages": [*HELLO, {"role": "function", "name": "look", "content": "a"}]},
        {"messages": [*HELLO, {"role": "assistant", "function_call": {"name": "look"}}]},
    ],
)
def test_functions_of_the_old_form_are_for_chat_alone(fields):
    assert carriers_of(_chat(**fields)) == ("chat",)


def test_a_field_of_the_old_form_that_says_nothing_binds_nobody():
    said = {"role": "assistant", "content": "a", "function_call": None}
    chat = _chat(messages=[*HELLO, said], functions=[], function_call=None)
    assert carriers_of(chat) == ()


# ------------------------------------------------------------------------------------------- files

_PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
_ID = "file-0123"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": 'the "file_id" of file-0123'}, False),
        (_PICTURE, False),
        ({"type": "file", "file": {"file_id": _ID}}, True),
        ({"type": "text", "text": "", "file_id": _ID}, True),
        ({"type": "text", "text": "", "source": {"type": "file", "file_id": _ID}}, True),
        ({"type": "input_file", "deeper": {"file_id": _ID}}, True),
    ],
)
def test_parts_that_may_name_a_file_are_known(part, expected):
    chat = _chat(messages=[*HELLO, {"role": "user", "content": [_PICTURE, part]}])

    assert may_name_files(parts_of(chat)) is expected


# ------------------------------------------------------------------------------------ conversations


def test_a_conversation_is_known_by_its_opening():
    first = _chat()
    later = _chat(messages=[*HELLO, {"role": "assistant", "content": "Hi"}, *HELLO])
    assert conversation(first) == conversation(later) != ""


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Bye"}],
        [{"role": "system", "content": "Be kind."}, *HELLO],
        [{"role": "developer", "content": "Be kind!"}, *HELLO],
    ],
)
def test_another_opening_is_another_conversation(messages):
    assert conversation(_chat(messages=messages)) != conversation(_chat())


def test_text_in_parts_is_an_opening_too():
    parts = [{"type": "image_url", "image_url": "data:,"}, {"type": "text", "text": "Hello"}]
    assert conversation(_chat(messages=[{"role": "user", "content": parts}])) == conversation(
        _chat()
    )


def test_a_request_without_text_is_of_no_conversation():
    parts = [{"type": "image_url", "image_url": "data:,"}]
    assert conversation(_chat(messages=[{"role": "user", "content": parts}])) == ""


@pytest.mark.parametrize(
    "fields",
    [{"prompt_cache_key": "k"}, {"session_id": "k"}, {"metadata": {"user_id": "k", "x": 1}}],
)
def test_the_callers_own_word_counts_more_than_the_opening(fields):
    other = [{"role": "user", "content": "Bye"}]
    assert conversation(_chat(**fields)) == conversation(_chat(messages=other, **fields))


@pytest.mark.parametrize("metadata", [None, 5, [], {"user_id": 5}, {"user_id": None}, "k"])
def test_metadata_of_any_shape_spoils_nothing(metadata):
    assert conversation(_chat(metadata=metadata)) == conversation(_chat())


def test_a_conversations_key_gives_nothing_away():
    assert "secret" not in conversation(_chat(prompt_cache_key="secret"))


# ------------------------------------------------------------------------------------------ wishes


def test_a_request_without_wishes_has_none():
    assert preferences(None) is NONE
    assert _wishes() == NONE


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("order", ["a", "b"], "order", ("a", "b")),
        ("only", ["a"], "only", ("a",)),
        ("ignore", ["a"], "ignore", ("a",)),
        ("allow_fallbacks", False, "allow_fallbacks", False),
        ("allow_fallbacks", None, "allow_fallbacks", True),
        ("require_parameters", True, "require_parameters", True),
        ("data_collection", "deny", "may_collect", False),
        ("data_collection", "allow", "may_collect", True),
        ("sort", "price", "sort", SortBy.PRICE),
        ("sort", {"by": "latency", "partition": "none"}, "sort", SortBy.LATENCY),
        ("sort", {}, "sort", None),
        ("max_price", {"prompt": 1}, "max_prompt_usd", Decimal(1)),
        ("max_price", {"prompt": "0.5"}, "max_prompt_usd", Decimal("0.5")),
        ("max_price", {"completion": 1.5}, "max_completion_usd", Decimal("1.5")),
        ("max_price", {"request": 1}, "max_prompt_usd", None),
    ],
)
def test_every_wish_is_understood(name, value, attribute, expected):
    assert getattr(_wishes(**{name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("order", "a", "provider.order"),
        ("order", [1], "provider.order.0"),
        ("only", {}, "provider.only"),
        ("ignore", ["a"] * 101, "provider.ignore"),
        ("allow_fallbacks", "no", "provider.allow_fallbacks"),
        ("require_parameters", 1, "provider.require_parameters"),
        ("data_collection", "maybe", "provider.data_collection"),
        ("sort", "beauty", "provider.sort"),
        ("sort", {"by": "beauty"}, "provider.sort.by"),
        ("max_price", 5, "provider.max_price"),
        ("max_price", {"prompt": "cheap"}, "provider.max_price.prompt"),
        ("max_price", {"prompt": "NaN"}, "provider.max_price.prompt"),
        ("max_price", {"completion": "Infinity"}, "provider.max_price.completion"),
        ("max_price", {"completion": -1}, "provider.max_price.completion"),
    ],
)
def test_a_wish_that_makes_no_sense_is_named(name, value, param):
    error = _refused(**{name: value})
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)


def test_unknown_wishes_are_ignored():
    assert _wishes(zdr=True, quantizations=["fp8"], preferred_max_latency={"p50": 1}) == NONE
