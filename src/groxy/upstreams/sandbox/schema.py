"""A value for a JSON Schema: how the sandbox fills tool arguments and structured answers.

In: a schema as decoded JSON. Out: a small value that satisfies it, the same each time, or one of
the two errors below. Fills what is required, and every field where nothing is. Understands types,
const, enum, default, anyOf, oneOf, allOf, $ref within the schema, formats, patterns and
bounds; leaves out not, if/then and the rarer words. Work is bounded whatever the schema says.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from groxy.upstreams.sandbox.bounds import Bounds, NoNumberError, as_fraction, number_for
from groxy.upstreams.sandbox.patterns import UnknownPatternError, text_for

_MAX_DEPTH = 60
_MAX_COST = 50_000
"""Values plus characters of text: what one schema may cost."""
_SAMPLE = "text"
_FORMATS: Mapping[str, str] = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_HIGHER_WINS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LOWER_WINS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")

_Schema = dict[str, Any]


class UnfillableError(ValueError):
    """No value for this schema, and why."""


class TooCostlyError(ValueError):
    """The value would be too large; no other branch is tried."""


def fill(schema: object) -> object:
    """Return a value that satisfies `schema`; raise `UnfillableError` or `TooCostlyError`."""
    return _Filler(schema).value(schema, _SAMPLE)


class _Filler:
    """Fills one schema; `value` is the way in."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _MAX_COST
        self._depth = 0
        self._open: frozenset[str] = frozenset()
        """References being filled: entering one again would never end."""
        self._nth = 0
        """Which of several different values is wanted, for arrays of unique items."""

    def value(self, schema: object, name: str) -> object:
        """Return a value; `name` is the field it is for, and the text where any text will do."""
        self._spend(1)
        if schema is False:
            raise UnfillableError("a part of it allows no value")
        if not isinstance(schema, dict) or not schema:
            return name
        references: set[str] = set()
        flat = self._flat(schema, self._open, references)
        with self._inside(references):
            for word in ("anyOf", "oneOf"):
                if isinstance(flat.get(word), list) and flat[word]:
                    branches = flat.pop(word)
                    return self._branch(flat, branches, name)
            return self._plain(flat, name)

    @contextmanager
    def _inside(self, references: set[str]) -> Iterator[None]:
        if self._depth >= _MAX_DEPTH:
            raise UnfillableError("it is nested too deeply")
        before = self._open
        self._open = before | references
        self._depth += 1
        try:
            yield
        finally:
            self._open = before
            self._depth -= 1

    def _spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise TooCostlyError("it asks for too large a value")

    def _flat(self, schema: _Schema, chain: frozenset[str], references: set[str]) -> _Schema:
        """Return `schema` with its reference and its allOf worked in.

        `chain` are the references that led here, `references` collects all that were followed.
        """
        self._spend(1)
        flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        every = schema.get("allOf")
        parts = [(part, chain) for part in every] if isinstance(every, list) else []
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in chain:
                raise UnfillableError(f"{reference[:80]} contains itself with no way out")
            references.add(reference)
            parts.append((_resolved(self._root, reference), chain | {reference}))
        if parts and len(chain) + self._depth > _MAX_DEPTH:
            raise UnfillableError("it is nested too deeply")
        for part, part_chain in parts:
            if part is False:
                raise UnfillableError("a part of it allows no value")
            if isinstance(part, dict):
                flat = merged(self._flat(part, part_chain, references), flat)
        return flat

    def _branch(self, flat: _Schema, branches: list[object], name: str) -> object:
        """Fill the first branch that can be filled, null last."""
        reason = UnfillableError("none of its branches can be filled")
        for branch in sorted(branches, key=_is_null):
            if branch is False:
                continue
            try:
                joined = {**flat, "allOf": [branch]} if isinstance(branch, dict) else flat
                return self.value(joined, name)
            except UnfillableError as error:
                reason = error
        raise reason

    def _plain(self, flat: _Schema, name: str) -> object:
        kinds = _kinds(flat)
        if "const" in flat:
            return self._given(flat["const"])
        if isinstance(enum := flat.get("enum"), list):
            fitting = [value for value in enum if _is_of(value, kinds)]
            if not fitting:
                raise UnfillableError("an enum has no value that fits")
            return self._given(fitting[self._nth % len(fitting)])
        if "default" in flat and not self._nth and _fits(flat["default"], flat, kinds):
            return self._given(flat["default"])
        kind = next((kind for kind in kinds if kind != "null"), "null")
        return self._of_kind(kind if kinds else _guessed(flat), flat, name)

    def _of_kind(self, kind: str, flat: _Schema, name: str) -> object:
        match kind:
            case "object":
                return self._object(flat)
            case "array":
                return self._array(flat, name)
            case "string":
                return self._text(flat, name)
            case "integer" | "number":
                try:
                    return number_for(flat, whole=kind == "integer", nth=self._nth)
                except NoNumberError as error:
                    raise UnfillableError(str(error)) from None
            case "boolean":
                return self._nth % 2 == 0
            case "null":
                return None
            case _:
                raise UnfillableError("it has a type that is not known")

    def _given(self, value: object) -> object:
        """Return a value that stands in the schema, paid for by its size."""
        self._spend(len(str(value)))
        return value

    def _object(self, flat: _Schema) -> dict[str, object]:
        properties, required = _dict(flat.get("properties")), flat.get("required")
        filled: dict[str, object] = {}
        if isinstance(required, list):
            for key in required:
                if isinstance(key, str):
                    filled[key] = self._field(flat, key)
        else:
            for key in properties:
                try:
                    filled[key] = self._field(flat, key)
                except UnfillableError:
                    continue  # It may be left out, and has to be.
        spare = iter([*properties, *(f"extra{n}" for n in range(_int(flat.get("minProperties"))))])
        while len(filled) < _int(flat.get("minProperties")):
            key = next(spare)
            if key not in filled:
                filled[key] = self._field(flat, key)
        return filled

    def _field(self, flat: _Schema, key: str) -> object:
        self._spend(len(key))
        properties = _dict(flat.get("properties"))
        schema = properties[key] if key in properties else flat.get("additionalProperties", True)
        return self.value(schema, key)

    def _array(self, flat: _Schema, name: str) -> list[object]:
        prefix = flat.get("prefixItems")
        first: list[object] = prefix if isinstance(prefix, list) else []
        items = flat.get("items", flat.get("contains", True))
        least, most = _int(flat.get("minItems")), _int(flat.get("maxItems"), _MAX_COST)
        wanted = max(len(first), 1 if isinstance(items, dict) and items else 0)
        is_unique = flat.get("uniqueItems") is True
        filled: list[object] = []
        nth = self._nth
        try:
            for index in range(max(least, min(wanted, most))):
                self._nth = nth + index if is_unique else nth
                filled.append(self.value(first[index] if index < len(first) else items, name))
        except UnfillableError:
            if len(filled) < least:
                raise
        finally:
            self._nth = nth
        if is_unique and len({repr(value) for value in filled}) < len(filled):
            raise UnfillableError("an array cannot have so many different items")
        return filled

    def _text(self, flat: _Schema, name: str) -> str:
        least, most = _int(flat.get("minLength")), _int(flat.get("maxLength"), _MAX_COST)
        self._spend(least)
        text = self._patterned(flat, least)
        if text is None:
            text = _FORMATS.get(str(flat.get("format")), "")
            if not text or not least <= len(text) <= most:
                mark = str(self._nth + 1) if self._nth else ""
                text = (name or _SAMPLE)[: max(most - len(mark), 0)] + mark
                text += "x" * (least - len(text))
        self._spend(len(text))
        if not least <= len(text) <= most:
            raise UnfillableError("a text has bounds that leave no room")
        return text

    @staticmethod
    def _patterned(flat: _Schema, least: int) -> str | None:
        """Return a text for the pattern, if there is one; an example helps where it is too rare."""
        pattern, examples = flat.get("pattern"), flat.get("examples")
        if not isinstance(pattern, str):
            return None
        try:
            return text_for(pattern, at_least=least)
        except UnknownPatternError as error:
            if isinstance(examples, list) and examples and isinstance(examples[0], str):
                return examples[0]
            raise UnfillableError(
                f"the pattern {pattern[:80]!r} is too much for it: {error}"
            ) from None


def merged(one: _Schema, other: _Schema) -> _Schema:
    """Return a schema that asks for what both ask for, as far as fields and bounds go."""
    both = one | other
    for key in one.keys() & other.keys():
        both[key] = _joined(key, one[key], other[key])
    return both


def _joined(key: str, one: Any, other: Any) -> Any:  # noqa: ANN401  parts of a schema
    if key in _HIGHER_WINS or key in _LOWER_WINS:
        first, second = as_fraction(one), as_fraction(other)
        if first is None or second is None:
            return other
        return one if (first > second) is (key in _HIGHER_WINS) else other
    if isinstance(one, list) and isinstance(other, list) and key in ("required", "enum"):
        if key == "enum":
            return [value for value in one if value in other]
        return [*one, *(name for name in other if name not in one)]
    if key == "properties":
        mine, yours = _dict(one), _dict(other)
        shared = {key: {"allOf": [mine[key], yours[key]]} for key in mine if key in yours}
        return mine | yours | shared
    if key == "type":
        return [
            kind if kind in _kinds({"type": other}) else "integer"
            for kind in _kinds({"type": one})
            if _is_common(kind, _kinds({"type": other}))
        ] or ["no type at all"]
    return other


def _is_common(kind: str, others: list[str]) -> bool:
    alike = {"integer": "number", "number": "integer"}.get(kind)
    return kind in others or alike in others


def _resolved(root: object, reference: str) -> object:
    """Return what `#/a/b` points to."""
    found = root
    if not reference.startswith("#"):
        raise UnfillableError(f"{reference[:80]} is not within the schema")
    for step in unquote(reference[1:]).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key[:6]) < len(found):
            found = found[int(key[:6])]
        else:
            raise UnfillableError(f"{reference[:80]} points nowhere")
    return found


def _kinds(flat: _Schema) -> list[str]:
    kinds = flat.get("type")
    found = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    return [kind for kind in found if isinstance(kind, str)]


def _guessed(flat: _Schema) -> str:
    """Return the type that a schema without one seems to mean."""
    for kind, words in (
        ("object", ("properties", "required", "additionalProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems", "uniqueItems", "contains")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ):
        if any(word in flat for word in words):
            return kind
    return "string"


def _is_of(value: object, kinds: list[str]) -> bool:
    """True when `value` is of one of `kinds`, or no kind is asked for."""
    match value:
        case None:
            names = {"null"}
        case bool():
            names = {"boolean"}
        case int():
            names = {"integer", "number"}
        case float():
            names = {"number", "integer"} if value.is_integer() else {"number"}
        case str():
            names = {"string"}
        case list():
            names = {"array"}
        case _:
            names = {"object"}
    return not kinds or not names.isdisjoint(kinds)


def _fits(value: object, flat: _Schema, kinds: list[str]) -> bool:
    """True when a default is of the right type and, for a text or number, within its bounds."""
    if isinstance(value, str):
        least, most = _int(flat.get("minLength")), _int(flat.get("maxLength"), _MAX_COST)
        return _is_of(value, kinds) and least <= len(value) <= most
    number = as_fraction(value)
    in_bounds = number is None or Bounds.of(flat, whole=False).allow(number)
    return _is_of(value, kinds) and in_bounds


def _int(value: object, otherwise: int = 0) -> int:
    number = as_fraction(value)
    return otherwise if number is None else max(0, min(int(number), _MAX_COST + 1))


def _dict(value: object) -> _Schema:
    return value if isinstance(value, dict) else {}


def _is_null(branch: object) -> bool:
    return isinstance(branch, dict) and (
        branch.get("type") == "null" or ("const" in branch and branch["const"] is None)
    )
