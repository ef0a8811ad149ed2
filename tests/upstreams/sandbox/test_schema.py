"""Values for JSON Schemas."""

import json
import time

import pytest
from hypothesis import given, settings, strategies as st

from groxy.upstreams.sandbox.schema import TooCostlyError, UnfillableError, fill
from groxy.wire.json import decode_any, encode
from tests.upstreams.sandbox.schema_checker import is_valid

_NODE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["value", "next", "children"],
        }
    },
    "$ref": "#/$defs/Node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "text"),
        (True, "text"),
        ({"type": "string"}, "text"),
        ({"type": "integer"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "object"}, {}),
        ({"type": "array"}, []),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"enum": ["red", "green"]}, "red"),
        ({"type": "integer", "enum": ["red", 2]}, 2),
        ({"type": "string", "default": "usual"}, "usual"),
        ({"type": "string", "default": 5}, "text"),
        ({"type": "integer", "default": 5, "maximum": 4}, 1),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "string", "format": "email", "maxLength": 3}, "tex"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "a"),
        ({"anyOf": [False, {"type": "integer"}]}, 1),
        ({"allOf": [{"minimum": 5}, {"type": "integer"}]}, 5),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, 1),
        ({"minimum": 3}, 3),
        ({"items": {"const": 1}}, [1]),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "items": False}, [1, 2]),
        ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "uniqueItems": True}, [1, 2]),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 0}, []),
        ({"type": "string", "pattern": "^[A-Z]{2}$"}, "AA"),
        ({"type": "string", "pattern": "^(?!x)", "examples": ["y"]}, "y"),
        ({"minProperties": 2}, {"extra0": "extra0", "extra1": "extra1"}),
    ],
)
def test_a_schema_is_filled(schema, value):
    assert fill(schema) == value


def test_required_fields_are_filled_and_others_left_out():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city"],
    }
    assert fill(schema) == {"city": "city"}


def test_all_fields_are_filled_where_none_is_said_to_be_required():
    schema = {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    assert fill(schema) == {"city": "city", "days": 1}


def test_a_schema_that_contains_itself_ends_where_it_may():
    assert fill(_NODE) == {"value": 1, "next": None, "children": []}
    assert is_valid(fill(_NODE), _NODE)


def test_a_reference_that_is_used_twice_is_no_circle():
    schema = {
        "$defs": {"Name": {"type": "string", "minLength": 2}},
        "allOf": [{"$ref": "#/$defs/Name"}, {"$ref": "#/$defs/Name"}],
    }
    assert fill(schema) == "text"


def test_properties_of_all_parts_come_together():
    schema = {
        "allOf": [
            {"properties": {"a": {"type": "integer", "minimum": 2}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 4}, "b": {"const": 1}}, "required": ["b"]},
        ]
    }
    assert fill(schema) == {"a": 4, "b": 1}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]},
        {"type": "colour"},
        {"enum": []},
        {"anyOf": [False, {"minimum": 2, "maximum": 1}]},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [False]},
        {"type": "string", "minLength": 4, "maxLength": 3},
        {"type": "string", "pattern": "^(?!x)"},
        {"items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True},
        {"items": False, "minItems": 1},
        {"required": ["a"], "additionalProperties": False},
    ],
)
def test_a_schema_that_nothing_satisfies_is_said_to_be_so(schema):
    with pytest.raises(UnfillableError):
        fill(schema)


def _bomb() -> dict[str, object]:
    """Ten references to the next level, ten levels: ten thousand million values."""
    levels = {
        f"L{level}": {
            "type": "object",
            "properties": {f"p{n}": {"$ref": f"#/$defs/L{level + 1}"} for n in range(10)},
        }
        for level in range(10)
    }
    return {"$defs": levels | {"L10": {"const": "x"}}, "$ref": "#/$defs/L0"}


@pytest.mark.parametrize(
    "schema",
    [
        _bomb(),
        {"type": "array", "items": {"type": "string"}, "minItems": 10_000_000},
        {"type": "string", "minLength": 10_000_000},
        {"minProperties": 10_000_000},
        {
            "type": "array",
            "items": {"const": "x" * 10_000},
            "minItems": 10_000,
        },
    ],
)
def test_work_is_bounded(schema):
    started = time.perf_counter()
    with pytest.raises(TooCostlyError):
        fill(schema)
    assert time.perf_counter() - started < 2


def test_a_schema_as_deep_as_json_may_be_does_no_harm():
    for word in ("items", "allOf", "anyOf"):
        inner = '{"type":"string"}'
        for _ in range(300):
            inner = f'{{"{word}":{inner if word == "items" else "[" + inner + "]"},"minItems":1}}'
        try:
            fill(decode_any(inner.encode()))
        except (UnfillableError, RecursionError):
            continue


_names = st.sampled_from(["name", "age", "tags", "kind", "home"])


def _ranged(low: str, high: str, most: int) -> st.SearchStrategy[dict[str, object]]:
    return st.tuples(st.integers(0, most), st.integers(0, most)).map(
        lambda ends: {low: min(ends), high: max(ends)}
    )


_leaves = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": "string"}),
    _ranged("minLength", "maxLength", 30).map(lambda ends: {"type": "string"} | ends),
    _ranged("minimum", "maximum", 50).map(lambda ends: {"type": "integer"} | ends),
    st.tuples(st.floats(-10, 0), st.floats(0.1, 10)).map(
        lambda ends: {"type": "number", "exclusiveMinimum": ends[0], "maximum": ends[1]}
    ),
    st.sampled_from(["^[a-z]{2,4}$", r"^\d+$", "^(yes|no)$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.sampled_from(["date", "uuid", "email", "uri", "unheard-of"]).map(
        lambda form: {"type": "string", "format": form}
    ),
    st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=3).map(
        lambda values: {"enum": values}
    ),
    st.text(max_size=5).map(lambda value: {"const": value}),
    st.integers(0, 9).map(lambda value: {"type": "integer", "default": value}),
    st.just({"$ref": "#/$defs/Person"}),
)


def _wider(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    fields = st.dictionaries(_names, inner, max_size=4)
    return st.one_of(
        st.tuples(fields, st.booleans(), st.booleans()).map(
            lambda parts: (
                {"type": "object", "properties": parts[0]}
                | ({"required": sorted(parts[0])} if parts[1] else {})
                | ({"additionalProperties": False} if parts[2] else {})
            )
        ),
        st.tuples(inner, st.integers(0, 3)).map(
            lambda parts: {"type": "array", "items": parts[0], "minItems": parts[1]}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda every: {"anyOf": every}),
        inner.map(lambda one: {"anyOf": [one, {"type": "null"}]}),
        inner.map(lambda one: {"allOf": [one]}),
    )


_schemas = st.recursive(_leaves, _wider, max_leaves=12)
_PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "parents": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
        "friend": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]},
    },
    "required": ["name", "friend"],
    "additionalProperties": False,
}


@given(_schemas)
@settings(max_examples=500, deadline=None)
def test_what_is_filled_satisfies_its_schema(schema):
    whole = {"$defs": {"Person": _PERSON}, "allOf": [schema]}
    value = fill(decode_any(encode(whole)))
    assert is_valid(value, schema, whole), value
    assert json.loads(encode(value)) == value
    assert fill(decode_any(encode(whole))) == value
