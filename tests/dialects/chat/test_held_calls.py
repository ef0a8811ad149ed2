"""Calls are held until they are whole, and let go of once."""

import pytest

from groxy.core.events import ToolCallDelta
from groxy.dialects.chat.held_calls import HeldCalls


def _begin(index: int, arguments: str = "") -> ToolCallDelta:
    return ToolCallDelta(index=index, call_id=f"c{index}", name=f"n{index}", arguments=arguments)


def _held(*events: ToolCallDelta) -> HeldCalls:
    calls = HeldCalls()
    for event in events:
        calls.take(event)
    return calls


def _indices(calls: list[dict[str, object]]) -> list[object]:
    return [call["index"] for call in calls]


def test_a_call_has_all_its_parts():
    calls = _held(_begin(0, '{"a"'), ToolCallDelta(index=0, arguments=":1}"))
    assert calls.whole() == [
        {
            "index": 0,
            "id": "c0",
            "type": "function",
            "function": {"name": "n0", "arguments": '{"a":1}'},
        }
    ]


def test_a_call_is_let_go_of_once():
    calls = _held(_begin(0, "{}"))
    calls.whole()
    assert calls.rest(is_cut=False) == []


@pytest.mark.parametrize("arguments", ["", "{", '{"a":{}', '{"a":"}', "[]", "{}}", "\ud800}"])
def test_what_may_go_on_is_not_whole(arguments):
    assert _held(_begin(0, arguments)).whole() == []


def test_blanks_behind_the_arguments_leave_them_whole():
    calls = _held(_begin(0, "{}"), ToolCallDelta(index=0, arguments=" \n"))
    assert _indices(calls.whole()) == [0]


def test_a_call_waits_for_those_before_it():
    assert _held(_begin(0, "{"), _begin(1, "{}")).whole() == []


def test_a_call_that_waited_goes_with_the_one_it_waited_for():
    calls = _held(_begin(0, "{"), _begin(1, "{}"))
    calls.whole()
    calls.take(ToolCallDelta(index=0, arguments="}"))
    assert _indices(calls.whole()) == [0, 1]


def test_another_call_lets_go_of_a_whole_one():
    calls = _held(_begin(0, "{}"))
    assert _indices(calls.take(_begin(1))) == [0]


def test_what_comes_for_a_call_that_is_gone_is_left_out():
    calls = _held(_begin(0, "{}"), _begin(1, "{}"))
    calls.take(ToolCallDelta(index=0, arguments="{}"))
    assert _indices(calls.rest(is_cut=False)) == [1]


def test_at_the_end_odd_arguments_go_as_they_are():
    (call,) = _held(_begin(0, "oops")).rest(is_cut=False)
    assert call["function"] == {"name": "n0", "arguments": "oops"}


def test_at_the_end_calls_go_in_the_order_of_their_indices():
    assert _indices(_held(_begin(1, "x"), _begin(0, "x")).rest(is_cut=False)) == [0, 1]


def test_where_it_was_cut_off_only_whole_calls_go():
    calls = _held(_begin(0, "{"), _begin(1, "{}"), _begin(2))
    assert _indices(calls.rest(is_cut=True)) == [1]
