"""Where a value came from, and how everything that is wrong with the settings is told.

In come sources and the findings of pydantic, out goes one `GroxyError` that names each setting,
its source and the remedy. This module must not repeat a value that may be a secret.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic_core import ErrorDetails

from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import schema
from groxy.settings.schema import Kind, Path, dotted, toml_text

_LONGEST_VALUE = 60
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Source:
    """One place that gives settings. `origin` is what doctor shows; `text` is a file's content."""

    origin: str
    text: str = field(default="", repr=False)

    def where(self, path: Path) -> str:
        """Return the origin, with the line for a file."""
        line = line_of(self.text, path) if self.text else None
        return f"{self.origin}, near line {line}" if line else self.origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `text` continues the setting's name."""

    where: str
    setting: str
    text: str

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.setting} {self.text}"
            if self.setting
            else (f"{self.where}: {self.text}")
        )


def error_of(problems: Sequence[Problem]) -> GroxyError:
    """Return all problems as one error, one a line; of very many only the first."""
    lines = list(dict.fromkeys(str(problem) for problem in problems))
    if len(lines) > MOST_PROBLEMS:
        lines[MOST_PROBLEMS:] = ["and more"]
    return GroxyError(ErrorKind.BAD_REQUEST, "\n".join(lines), param=problems[0].setting or None)


def unknown(path: Path, source: Source) -> Problem:
    """Return the problem of a name that is no setting, with the nearest name."""
    name, near = dotted(path), schema.nearest(path)
    text = "is not a setting"
    if near is not None:
        text += f"; did you mean {near}?"
        if source.origin.startswith("environment") and "." in near:
            text += f" Then write {schema.variable_of(near)}."
    elif path[0] == "accounts":
        text += "; a field that the upstream declares goes under options"
    else:
        text += "; docs/settings.md lists all of them"
    return Problem(source.where(path), name, text)


def problem_of(details: ErrorDetails, value: object, source: Source) -> Problem:
    """Return one finding of pydantic as a problem."""
    path = _known_part(details["loc"])
    name, where = dotted(path), source.where(path)
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return unknown(details["loc"], source)
        case "missing":
            return Problem(where, name, "is missing; every account needs it")
        case "value_error":
            return Problem(where, name, str(context.get("error", "is not valid")))
        case "string_too_long":
            return Problem(where, name, f"is longer than {context.get('max_length')} characters")
        case _:
            return Problem(where, name, f"must be {expected_at(path)}{_instead(path, value)}")


def expected_at(path: Path) -> str:
    """Return what belongs at a path, in words that follow "must be"."""
    place = schema.place_of(path)
    if place is None:
        return "valid"
    if place.kind is Kind.ACCOUNTS:
        return "an array of tables; write [[accounts]] for each account"
    if place.kind is Kind.VALUE and place.field is not None:
        return schema.shown_of(place.field).type
    if place.kind is Kind.FREE and path[0] == "accounts" and path[-1] != "options":
        return "text in quotes"
    return "a table"


def _instead(path: Path, value: object) -> str:
    place = schema.place_of(path)
    if value is None or place is None or place.is_secret:
        return ""
    if isinstance(value, dict):
        return ", not a table"
    if isinstance(value, list | tuple):
        return ", not an array"
    text = toml_text(value)
    return f", not {text[:_LONGEST_VALUE]}{'…' if len(text) > _LONGEST_VALUE else ''}"


def _known_part(loc: Sequence[str | int]) -> Path:
    """Cut what pydantic adds below a value, such as the index within a list of keys."""
    for end in range(1, len(loc) + 1):
        place = schema.place_of(loc[:end])
        if place is None or place.kind is Kind.VALUE:
            return tuple(loc[:end])
    return tuple(loc)


_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*=")


def line_of(text: str, path: Path) -> int | None:
    """Return the line of a TOML text that is nearest to a setting; None if nothing is near.

    The TOML parser of the standard library keeps no line numbers, so this looks for headers and
    keys at the start of lines. It may be off within strings of many lines.
    """
    counts: dict[Path, int] = {}
    table: Path = ()
    best_depth, best_line = 0, None
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            here = table = _indexed(_parts(header[2]), counts, is_array=header[1] == "[[")
        elif key := _KEY.match(line):
            here = table + _parts(key[1])
        else:
            continue
        if len(here) > best_depth and path[: len(here)] == here:
            best_depth, best_line = len(here), number
    return best_line


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY_PART, key))


def _indexed(parts: Iterable[str], counts: dict[Path, int], *, is_array: bool) -> Path:
    """Return a header's path with an index behind each name that is an array of tables."""
    names = tuple(parts)
    path: Path = ()
    for position, name in enumerate(names, 1):
        path += (name,)
        if is_array and position == len(names):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path += (counts[path] - 1,)
    return path
