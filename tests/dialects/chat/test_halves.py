"""Half characters: which are joined, which are replaced, and that nothing else becomes readable."""

import json
import re
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from groxy.dialects.chat.halves import Halves, may_have_halves, without_halves
from groxy.wire.json import UNREADABLE

HIGH, LOW, WHOLE, LONE = r"\ud83d", r"\ude00", "\U0001f600", "\ufffd"


def _event(delta: str, finish: str = "null", index: int = 0) -> bytes:
    choice = f'{{"index":{index},"delta":{delta},"finish_reason":{finish}}}'
    return f'{{"id":"a","model":"m","choices":[{choice}],"x":1.50}}'.encode()


def _says(text: str, finish: str = "null", index: int = 0) -> bytes:
    return _event(f'{{"content":"{text}"}}', finish, index)


def _read(data: bytes) -> Any:
    return msgspec.json.decode(data)


def _deltas(*events: bytes) -> list[Any]:
    """What is said by each event, and by the one that has what is left."""
    halves = Halves()
    mended = [halves.mended(one) for one in events]
    rest = halves.rest()
    return [_read(one)["choices"][0]["delta"] for one in (*mended, *([rest] if rest else []))]


def _said(*events: bytes) -> list[Any]:
    return [delta.get("content") for delta in _deltas(*events)]


# ------------------------------------------------------------------------------------ what is held


def test_a_half_that_ends_a_text_is_joined_with_the_one_that_begins_the_next():
    assert _said(_says("a" + HIGH), _says(LOW + "b")) == ["a", WHOLE + "b"]


@pytest.mark.parametrize(("high", "low"), [(r"\uD83D", r"\uDE00"), (r"\uD83d", r"\uDe00")])
def test_the_case_of_an_escape_is_of_no_matter(high, low):
    assert _said(_says(high), _says(low)) == ["", WHOLE]


@pytest.mark.parametrize("between", ["{}", '{"content":""}', '{"content":null,"role":"assistant"}'])
def test_a_half_waits_through_deltas_that_say_nothing(between):
    assert _said(_says(HIGH), _event(between), _says(LOW))[2] == WHOLE


def test_each_choice_has_its_own_half():
    events = [_says(HIGH, index=0), _says(HIGH, index=1), _says(LOW, index=1), _says(LOW, index=0)]
    assert _said(*events) == ["", "", WHOLE, WHOLE]


def test_one_text_may_end_in_a_half_that_began_with_one():
    assert _said(_says(HIGH), _says(LOW + HIGH), _says(LOW)) == ["", WHOLE, WHOLE]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "refusal"])
def test_other_texts_are_joined_too(name):
    first, second = (_event(f'{{"{name}":"{half}"}}') for half in (HIGH, LOW))
    assert _deltas(first, second)[1] == {name: WHOLE}


def test_the_arguments_of_a_call_are_joined_too():
    pieces = [
        _event(f'{{"tool_calls":[{{"index":1,"function":{{"arguments":"{half}"}}}}]}}')
        for half in (HIGH, LOW)
    ]
    assert [one["tool_calls"][0]["function"]["arguments"] for one in _deltas(*pieces)] == [
        "",
        WHOLE,
    ]


def test_nothing_is_held_of_a_stream_without_halves():
    halves = Halves()
    halves.mended(_says("a"))
    assert (halves.held, halves.rest()) == ({}, b"")


# -------------------------------------------------------------------------------- what is replaced


@pytest.mark.parametrize(
    ("spelled", "text"),
    [
        (LOW, LONE),
        (HIGH + "a", LONE + "a"),
        (LOW + HIGH + "a", LONE + LONE + "a"),
        (HIGH + HIGH + LOW, LONE + WHOLE),
        (HIGH + LOW + LOW, WHOLE + LONE),
        (r"\\" + LOW, "\\" + LONE),
        (r"\\ud83d" + LOW, "\\ud83d" + LONE),
        (r"\ue03d\uE600" + LOW, "\ue03d\ue600" + LONE),
        ("\ue03d" + LOW, "\ue03d" + LONE),
        (r"\ufffd\n" + LOW, LONE + "\n" + LONE),
    ],
)
def test_a_half_that_nothing_can_complete_is_replaced(spelled, text):
    assert _said(_says(spelled)) == [text]


def test_a_half_before_other_text_is_replaced():
    assert _said(_says("a" + HIGH), _says("b")) == ["a", LONE + "b"]


def test_a_backslash_before_what_looks_like_a_half_is_one():
    assert _said(_says(LOW + r"\\ud83d")) == [LONE + "\\ud83d"]


@pytest.mark.parametrize("other", ['{"reasoning":"b"}', '{"tool_calls":[{"index":0}]}'])
def test_a_half_before_anything_else_that_is_said_is_replaced(other):
    assert _said(_says(HIGH), _event(other), _says(LOW)) == ["", LONE, LONE]


def test_a_half_at_the_end_of_its_choice_is_replaced():
    assert _said(_says(HIGH), _event("{}", '"stop"')) == ["", LONE]


@pytest.mark.parametrize("delta", ["null", "{}"])
def test_a_half_is_put_into_the_last_delta_whatever_that_is(delta):
    assert _said(_says(HIGH), _event(delta, '"stop"')) == ["", LONE]


def test_a_half_in_the_last_text_of_its_choice_is_replaced():
    assert _said(_says("a" + HIGH, '"stop"')) == ["a" + LONE]


def test_a_half_that_nothing_came_for_is_an_event_of_its_own():
    halves = Halves()
    halves.mended(_says(HIGH, index=2))
    choice = {"index": 2, "delta": {"content": LONE}, "finish_reason": None}
    assert _read(halves.rest()) == {"id": "a", "model": "m", "choices": [choice]}
    assert halves.rest() == b""


def test_a_half_anywhere_else_is_replaced():
    event = f'{{"x":["{HIGH}",{{"{LOW}":"{LOW}"}}],"choices":[]}}'.encode()
    assert _read(Halves().mended(event)) == {"x": [LONE, {LONE: LONE}], "choices": []}


def test_halves_of_a_whole_body_are_replaced():
    assert _read(without_halves(f'{{"a":"x{HIGH}","b":"{HIGH}{LOW}"}}'.encode())) == {
        "a": "x" + LONE,
        "b": WHOLE,
    }


# -------------------------------------------------------------------------------- what stays as is


@pytest.mark.parametrize("body", [b"", b'{"a":"\\u00e9"}', "{'a': 'é'}".encode()])
def test_a_body_without_halves_stays(body):
    assert without_halves(body) is body


def test_further_fields_stay_as_they_are_spelled():
    assert Halves().mended(_says(LOW)).endswith(b',"x":1.50}')


@pytest.mark.parametrize("data", [rb'"\ud83d"', rb'"\uDE00"', rb'"\ud83d\ude00"'])
def test_what_may_have_halves_is_told_by_their_escape(data):
    assert may_have_halves(data)


@pytest.mark.parametrize("data", [b"", b"NaN", rb'"\u00e9"', '"é"'.encode()])
def test_what_has_no_such_escape_has_no_halves(data):
    assert not may_have_halves(data)


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"choices":[{"delta":{"content":"\\ud83d"}}],"x":NaN}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}],"x":-Infinity}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]',
        b'{"choices":[{"delta":{"content":"\\ud83"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d\\x"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d\n"}}]}',
        b"\\ud83d",
    ],
)
def test_garbage_stays_garbage(garbage):
    with pytest.raises(UNREADABLE):
        _read(Halves().mended(garbage))


@pytest.mark.parametrize(
    "odd",
    [
        b"[]",
        b"5",
        b'{"choices":5}',
        b'{"choices":null}',
        b'{"choices":[5]}',
        b'{"choices":[{"delta":5}]}',
        b'{"choices":[{"delta":{"tool_calls":[5]}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_stays(odd):
    assert Halves().mended(odd) == odd


# -------------------------------------------------------------------------------------- properties


def _stringified(text: str) -> str:
    """A text as JavaScript writes it: what is whole as it is, a lone half escaped."""
    return re.sub(
        "[\ud800-\udfff]",
        lambda half: f"\\u{ord(half[0]):04x}",
        json.dumps(text, ensure_ascii=False),
    )


@given(
    st.text(st.sampled_from('a"\\\n\ue03d\ufffd\U0001f600\U0010ffff')),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_a_text_cut_anywhere_by_utf_16_units_is_whole_again(text, cuts):
    units = text.encode("utf-16-le")
    bounds = sorted({0, len(units), *(2 * cut for cut in cuts if 2 * cut < len(units))})
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(bounds)]
    events = [_event(f'{{"content":{_stringified(piece)}}}') for piece in pieces]
    assert "".join(_said(*events)) == text


@given(st.text(st.characters() | st.sampled_from("\ud83d\ude00\ue03d\\u")))
def test_any_text_is_mended_as_utf_16_would_replace_it(text):
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    for spelled in (_stringified(text), json.dumps(text)):
        mended = without_halves(spelled.encode("utf-8", "surrogatepass"))
        assert _read(mended) == whole
