"""Which call a fragment is of, and what of it is new."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.dialects.chat.mend import Call, CallFunction
from groxy.dialects.chat.numbering import Calls


def _fragment(name: str | None = None, **fields: Any) -> Call:
    return Call(function=CallFunction(name=name, arguments="x"), **fields)


def _settled(*fragments: Call) -> list[tuple[int | None, str | None, str | None]]:
    """The index, id and name that are left of each fragment."""
    calls = Calls()
    for one in fragments:
        calls.settle(one)
    return [(one.index, one.id, one.function.name if one.function else None) for one in fragments]


def _numbers(*fragments: Call) -> list[int | None]:
    return [index for index, _, _ in _settled(*fragments)]


def test_openais_fragments_need_no_change():
    calls = Calls()
    fragments = [
        _fragment("one", index=0, id="a", type="function"),
        _fragment(index=0),
        _fragment("two", index=1, id="b", type="function"),
        _fragment(index=1),
        _fragment(index=0),
    ]
    assert [calls.settle(one) for one in fragments] == [False] * 5


def test_a_new_id_at_an_index_that_is_taken_gets_the_next_free_one():
    fragments = [_fragment(name, index=0, id=name) for name in "abc"]
    assert _settled(*fragments) == [(0, "a", "a"), (1, "b", "b"), (2, "c", "c")]


def test_what_has_no_id_belongs_to_the_newest_call_at_its_index():
    fragments = [_fragment(name, index=0, id=name) for name in "ab"]
    assert _numbers(*fragments, _fragment(index=0), _fragment(index=0, id="")) == [0, 1, 1, 1]


def test_an_id_that_is_known_leads_back_to_its_call():
    fragments = [_fragment(name, index=0, id=name) for name in "ab"]
    assert _numbers(*fragments, _fragment(index=0, id="a")) == [0, 1, 0]


def test_an_index_that_another_call_was_given_is_not_free():
    fragments = [_fragment("a", index=0, id="a"), _fragment("b", index=0, id="b")]
    assert _numbers(*fragments, _fragment("c", index=1, id="c")) == [0, 1, 2]


def test_an_index_that_was_moved_stays_so_for_its_call():
    fragments = [_fragment("a", index=0, id="a"), _fragment("b", index=0, id="b")]
    assert _numbers(*fragments, _fragment("c", index=1, id="c"), _fragment(index=1)) == [0, 1, 2, 2]


def test_one_id_at_two_indexes_is_two_calls():
    fragments = [_fragment("look", index=at, id="look") for at in (0, 1)]
    assert _settled(*fragments) == [(0, "look", "look"), (1, "look", "look")]


def test_an_index_that_is_left_out_later_is_that_of_the_calls_id():
    fragments = [_fragment(name, index=at, id=name) for at, name in ((3, "a"), (5, "b"))]
    assert _numbers(*fragments, _fragment(id="a"), _fragment()) == [3, 5, 3, 5]


def test_an_index_that_comes_later_is_that_of_the_call():
    assert _numbers(_fragment("a", id="a"), _fragment("a", index=0, id="a")) == [0, 0]


def test_names_tell_calls_apart_that_have_neither_index_nor_id():
    assert _numbers(_fragment("a"), _fragment(), _fragment("b"), _fragment()) == [0, 0, 1, 1]


def test_an_id_that_is_repeated_is_taken_off_with_its_type_and_its_name():
    first, again = (_fragment("look", index=0, id="a", type="function") for _ in range(2))
    assert _settled(first, again) == [(0, "a", "look"), (0, None, None)]
    assert (first.type, again.type) == ("function", None)


def test_a_name_that_is_repeated_without_an_id_is_taken_off():
    assert _settled(_fragment("look", index=0, id="a"), _fragment("look", index=0))[1][2] is None


def test_a_name_that_comes_later_stays():
    assert _settled(_fragment(index=0, id="a"), _fragment("look", index=0, id="a")) == [
        (0, "a", None),
        (0, None, "look"),
    ]


def test_an_id_that_comes_later_stays():
    assert _settled(_fragment("look", index=0), _fragment(index=0, id="a"))[1] == (0, "a", None)


def test_another_id_without_a_name_begins_no_call():
    fragments = [_fragment("look", index=0, id="a"), _fragment(index=0, id="b")]
    assert _settled(*fragments) == [(0, "a", "look"), (0, None, None)]


@pytest.mark.parametrize("index", [None, 0])
def test_a_fragment_without_a_function_is_settled_too(index):
    assert _settled(Call(index=index, id="a")) == [(0, "a", None)]


_NAMES = st.sampled_from([None, "", "a", "b"])


@given(st.lists(st.tuples(st.none() | st.integers(-1, 3), _NAMES, _NAMES), max_size=12))
def test_what_is_settled_needs_no_change_and_tells_each_call_once(fragments):
    again = Calls()
    told: set[int | None] = set()
    calls = Calls()
    for index, call_id, name in fragments:
        one = _fragment(name, index=index, id=call_id)
        calls.settle(one)
        assert not (one.id and one.index in told)
        if one.id:
            told.add(one.index)
        assert not again.settle(one)
