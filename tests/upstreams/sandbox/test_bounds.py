"""Numbers within bounds."""

import pytest
from hypothesis import given, strategies as st

from groxy.upstreams.sandbox.bounds import NoNumberError, number_for
from tests.upstreams.sandbox.schema_checker import is_valid

_WHOLE = st.integers(-1000, 1000)


def test_one_is_the_number_where_nothing_else_is_asked():
    assert number_for({}, whole=True) == 1
    assert number_for({}, whole=False) == 1


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        ({"minimum": 5}, 5),
        ({"maximum": -5}, -5),
        ({"exclusiveMinimum": 5}, 6),
        ({"exclusiveMaximum": 1}, 0),
        ({"multipleOf": 7}, 7),
        ({"minimum": 8, "multipleOf": 7}, 14),
        ({"minimum": 0, "maximum": 0}, 0),
        ({"minimum": 5, "exclusiveMinimum": True}, 6),
        ({"minimum": 2.5}, 3),
        ({"multipleOf": 2.5}, 5),
        ({"minimum": True, "maximum": "x"}, 1),
    ],
)
def test_a_whole_number_keeps_to_the_bounds(schema, number):
    assert number_for(schema, whole=True) == number


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        ({"minimum": 0, "maximum": 0.5}, 0),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"exclusiveMinimum": 1}, 2),
        ({"multipleOf": 0.1, "minimum": 0.25}, 1),
        ({"multipleOf": 0.1, "minimum": 0.25, "maximum": 0.35}, 0.3),
        ({"maximum": 0.5, "minimum": 0.5}, 0.5),
    ],
)
def test_a_number_keeps_to_the_bounds(schema, number):
    assert number_for(schema, whole=False) == number


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 2, "maximum": 1},
        {"exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"multipleOf": 10, "minimum": 11, "maximum": 19},
        {"minimum": 1e300},
    ],
)
def test_bounds_without_room_are_said_to_be_so(schema):
    with pytest.raises(NoNumberError):
        number_for(schema, whole=True)


def test_each_nth_number_is_another():
    assert len({number_for({"minimum": 3}, whole=True, nth=nth) for nth in range(20)}) == 20
    unit = {"minimum": 0, "maximum": 1}
    assert len({number_for(unit, whole=False, nth=nth) for nth in range(20)}) == 20
    few = {"minimum": -1, "maximum": 2}
    assert [number_for(few, whole=True, nth=nth) for nth in range(4)] == [1, 2, 0, -1]
    assert [number_for({"exclusiveMaximum": 1}, whole=False, nth=nth) for nth in (0, 1)] == [0, -1]


@given(st.lists(_WHOLE, min_size=2, max_size=2), st.booleans(), st.integers(1, 20))
def test_any_bounds_with_room_get_a_number_that_fits(ends, whole, step):
    low, high = sorted(ends)
    schema = {"minimum": low, "maximum": high + step, "multipleOf": step}
    assert is_valid(number_for(schema, whole=whole), schema)


@given(
    st.floats(-1e9, 1e9, allow_nan=False),
    st.floats(-1e9, 1e9, allow_nan=False),
)
def test_any_open_range_gets_a_number_or_an_error(one, other):
    low, high = sorted((one, other))
    schema = {"exclusiveMinimum": low, "exclusiveMaximum": high}
    try:
        assert is_valid(number_for(schema, whole=False), schema)
    except NoNumberError:
        assert high - low < 1e-6
