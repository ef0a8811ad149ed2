"""A small JSON Schema validator, as strict as the words it knows; for tests only."""

import re
from fractions import Fraction
from typing import Any

_TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def is_valid(value: Any, schema: Any, root: Any = None) -> bool:
    """True when `value` satisfies `schema`."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    return (
        _has_type(value, schema)
        and _fits_branches(value, schema, root)
        and _fits_number(value, schema)
        and _fits_text(value, schema)
        and _fits_array(value, schema, root)
        and _fits_object(value, schema, root)
    )


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _has_type(value: Any, schema: dict[str, Any]) -> bool:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        return False
    if "const" in schema and not _same(value, schema["const"]):
        return False
    return "enum" not in schema or any(_same(value, one) for one in schema["enum"])


def _fits_branches(value: Any, schema: dict[str, Any], root: Any) -> bool:
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].split("/")[1:]:
            target = target[step]
        if not is_valid(value, target, root):
            return False
    if "anyOf" in schema and not any(is_valid(value, one, root) for one in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(is_valid(value, one, root) for one in schema["oneOf"]) != 1:
        return False
    return all(is_valid(value, one, root) for one in schema.get("allOf", ()))


def _fits_number(value: Any, schema: dict[str, Any]) -> bool:
    if not _TYPES["number"](value):
        return True
    number = Fraction(str(value))

    def word(name: str) -> Fraction | None:
        return Fraction(str(schema[name])) if name in schema else None

    low, high, step = word("minimum"), word("maximum"), word("multipleOf")
    above, below = word("exclusiveMinimum"), word("exclusiveMaximum")
    return (
        (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
        and (below is None or number < below)
        and (step is None or (number / step).denominator == 1)
    )


def _fits_text(value: Any, schema: dict[str, Any]) -> bool:
    if not isinstance(value, str):
        return True
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    return "pattern" not in schema or re.search(schema["pattern"], value) is not None


def _fits_array(value: Any, schema: dict[str, Any], root: Any) -> bool:
    if not isinstance(value, list):
        return True
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if schema.get("uniqueItems") and len({repr(item) for item in value}) < len(value):
        return False
    first = schema.get("prefixItems", [])
    return all(
        is_valid(item, first[index] if index < len(first) else schema.get("items", True), root)
        for index, item in enumerate(value)
    )


def _fits_object(value: Any, schema: dict[str, Any], root: Any) -> bool:
    if not isinstance(value, dict):
        return True
    if any(name not in value for name in schema.get("required", ())):
        return False
    if len(value) < schema.get("minProperties", 0):
        return False
    fields = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    return all(is_valid(one, fields.get(name, rest), root) for name, one in value.items())
