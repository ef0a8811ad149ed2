"""The mends one by one; what they make of whole streams is in test_relay.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import Raw

from groxy.dialects._embedded import is_there
from groxy.dialects.chat.mend import (
    FINISH_REASONS,
    Call,
    CallFunction,
    Delta,
    finish_reason_of,
    has_whole_calls,
    mended_delta,
    mended_message,
    text_of,
    whole_as_chunks,
)
from tests.dialects.chat.odd_replies import ODD_BODIES
from tests.dialects.chat.streams import call


@pytest.mark.parametrize("raw", ["", "null", "{}", "[]", '""', "false", "0"])
def test_an_empty_error_field_is_no_error(raw):
    assert not is_there(Raw(raw.encode()))


@pytest.mark.parametrize("raw", ['{"message":"no"}', '"no"', "[1]", "true", "1", "[null]"])
def test_a_filled_error_field_is_an_error(raw):
    assert is_there(Raw(raw.encode()))


@pytest.mark.parametrize("reason", sorted(FINISH_REASONS))
def test_openais_finish_reasons_stay(reason):
    assert finish_reason_of(reason, has_calls=True) == reason


@pytest.mark.parametrize("has_calls", [True, False])
def test_no_finish_reason_means_that_the_choice_goes_on(has_calls):
    assert finish_reason_of(None, has_calls=has_calls) is None


@pytest.mark.parametrize(("has_calls", "reason"), [(True, "tool_calls"), (False, None)])
def test_an_empty_finish_reason_ends_a_choice_with_calls(has_calls, reason):
    assert finish_reason_of("", has_calls=has_calls) == reason


@pytest.mark.parametrize(
    ("arguments", "are_whole"),
    [
        (["{}"], True),
        (['{"a":1}', "{}"], True),
        (['{"a":1'], False),
        (["{}", ""], False),
        ([None], False),
        ([], False),
    ],
)
def test_calls_are_whole_when_the_arguments_of_all_can_be_read(arguments, are_whole):
    delta = Delta(tool_calls=[Call(function=CallFunction(arguments=one)) for one in arguments])
    assert has_whole_calls(delta) == are_whole


@pytest.mark.parametrize("delta", [None, Delta(), Delta(tool_calls=[Call()])])
def test_without_arguments_no_call_is_whole(delta):
    assert not has_whole_calls(delta)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ("", ""),
        (0, "0"),
        (-1.5, "-1.5"),
        (True, "true"),
        (False, "false"),
        (1.0, "1.0"),
    ],
)
def test_text_of_a_number_is_what_stood_in_the_json(content, text):
    assert text_of(content) == text


def test_the_first_delta_opens_with_the_role():
    delta = mended_delta({"content": "a"}, [], is_first=True)
    assert list(delta.items()) == [("role", "assistant"), ("content", "a")]


def test_an_empty_first_delta_has_content():
    assert mended_delta({}, [], is_first=True) == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("role", ["assistant", None, "x"])
def test_a_later_delta_has_no_role(role):
    assert mended_delta({"role": role, "content": "a"}, [], is_first=False) == {"content": "a"}


def test_an_empty_later_delta_stays_empty():
    assert mended_delta({}, [], is_first=False) == {}


def _mended_call(fragment: dict[str, Any], settled: Call) -> dict[str, Any]:
    delta = mended_delta({"tool_calls": [fragment]}, [settled], is_first=False)
    mended: dict[str, Any] = delta["tool_calls"][0]
    return mended


@pytest.mark.parametrize("fragment", [{}, {"index": None}, {"index": 0}])
def test_a_fragment_gets_the_index_of_its_call(fragment):
    assert _mended_call(fragment, Call(index=1)) == {"index": 1}


def test_what_a_fragment_repeats_is_taken_off():
    fragment = call("{}", "look", index=0, id="c", type="function")
    settled = Call(index=0, function=CallFunction(arguments="{}"))
    assert _mended_call(fragment, settled) == call("{}", index=0)


def test_only_the_fragment_that_names_its_call_gets_a_type():
    both = [call("", id="c", index=0), call("{}", index=0)]
    settled = [Call(index=0, id="c"), Call(index=0)]
    delta = mended_delta({"tool_calls": both}, settled, is_first=False)
    assert ["type" in one for one in delta["tool_calls"]] == [True, False]


def test_a_custom_calls_type_stays():
    fragment = {"id": "c", "type": "custom", "custom": {"name": "look"}}
    assert _mended_call(fragment, Call(index=0, id="c"))["type"] == "custom"


def test_a_message_always_has_content():
    assert mended_message({}) == {"role": "assistant", "content": None}


def test_a_good_message_stays_as_it_is():
    message = {"role": "assistant", "content": "a", "tool_calls": [call("{}", type="function")]}
    assert mended_message(json.loads(json.dumps(message))) == message


def test_unknown_fields_of_a_message_stay():
    assert mended_message({"content": "a", "audio": {"id": 1}})["audio"] == {"id": 1}


# ---------------------------------------------------------------------------- whole to stream


def _chunks(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(chunk) for chunk in whole_as_chunks(json.dumps(body).encode())]


def test_a_whole_reply_is_what_it_says_and_how_it_ends_and_what_it_used():
    chunks = _chunks(
        {
            "id": "a",
            "object": "chat.completion",
            "citations": ["c"],
            "choices": [{"index": 3, "message": {"content": "b"}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 1},
        }
    )
    head = {"id": "a", "object": "chat.completion.chunk", "citations": ["c"]}
    assert chunks == [
        head | {"choices": [{"index": 3, "delta": {"content": "b"}, "finish_reason": None}]},
        head | {"choices": [{"index": 3, "delta": {}, "finish_reason": "length"}]},
        head | {"choices": [], "usage": {"prompt_tokens": 1}},
    ]


def test_a_choice_without_an_index_is_the_first():
    chunks = _chunks({"choices": [{"message": {"content": "b"}}]})
    assert [one["choices"][0]["index"] for one in chunks] == [0, 0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":5}]}',
        b'{"choices":[{"message":{"tool_calls":[5]}}]}',
        b'{"choices":[{"finish_reason":"error","error":{"code":1}}]}',
        b'{"choices":[{"message":{"content":"a"}}],"error":"no"}',
        b'{"choices":[{"message":{"content":"a"}}],"x":1e999}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:50]),
)
def test_a_body_that_is_no_good_reply_is_one_chunk_as_it_is(body):
    assert whole_as_chunks(body) == [body]


def test_half_a_character_of_a_whole_reply_is_replaced():
    chunks = whole_as_chunks(rb'{"choices":[{"message":{"content":"a\ud83d"}}]}')
    assert json.loads(chunks[0])["choices"][0]["delta"]["content"] == "a\ufffd"


@given(ODD_BODIES)
def test_any_body_becomes_chunks_without_line_ends_or_stays(body):
    chunks = whole_as_chunks(body)
    assert chunks == [body] or all(b"\n" not in one and json.loads(one) for one in chunks)
