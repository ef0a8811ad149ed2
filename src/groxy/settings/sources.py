"""Reads the settings file, the environment and the flags into one tree of raw values.

In come a file, a mapping of variables and a mapping of flags, out goes a `Draft`: what was said,
who said it last, and what could not be understood. This module must not check values: it turns
text into numbers where a setting wants a number, and leaves the rest to the models.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path as FilePath

import msgspec

from groxy.settings import schema
from groxy.settings.problems import Problem, Source, error_of, unknown
from groxy.settings.schema import CONFIG_VARIABLE, DATA_DIR_VARIABLE, PREFIX, Kind, Path

Table = dict[str, object]

MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 32
# The longest paths below "free keys" that still are tables.
_OPTIONS = ("accounts", "0", "options")
_MODEL = ("models", "<id>")
_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "1": True, "yes": True, "on": True}
_TRUTHS |= {"false": False, "0": False, "no": False, "off": False}
# Kubernetes and Docker links put these into every container beside a service that is named groxy.
_SERVICE_LINK = re.compile(
    r"GROXY_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|(PORT_[0-9]+_(TCP|UDP|SCTP)"
    r"(_(PROTO|PORT|ADDR))?))"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(slots=True)
class Draft:
    """Raw values, the source of each, and the problems found while reading."""

    values: Table = field(default_factory=dict)
    origins: dict[Path, Source] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: Path, value: object, source: Source) -> None:
        """Remember `source` for a value and everything inside it."""
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        for inner in _leaves(value, path):
            self.origins[inner] = source

    def source_of(self, path: Path) -> Source:
        """Return who gave the value at a path, or the values nearest to it."""
        for end in range(len(path), 0, -1):
            for known, source in self.origins.items():
                if known[:end] == path[:end]:
                    return source
        return Source("default")

    def givers(self) -> dict[Path, Source]:
        """Return who gave each value, and one of the givers for each table with values in it."""
        found: dict[Path, Source] = {}
        for known, source in self.origins.items():
            for end in range(1, len(known) + 1):
                found.setdefault(known[:end], source)
        return found

    def value_at(self, path: Path) -> object:
        """Return the raw value at a path; None if nothing was said."""
        here: object = self.values
        for key in path:
            here = _get(here, key)
        return here

    def put(self, path: Path, value: object, source: Source) -> bool:
        """Put a value at a path; False if what stands there is neither a table nor an array."""
        here: object = self.values
        for key, below in pairwise(path):
            if _get(here, key) is None and not _set(here, key, [] if type(below) is int else {}):
                return False
            here = _get(here, key)
        if not _set(here, path[-1], value):
            return False
        self.note(path, value, source)
        return True


def _get(here: object, key: str | int) -> object:
    if isinstance(here, dict):
        return here.get(key)
    if isinstance(here, list) and isinstance(key, int) and key < len(here):
        value: object = here[key]
        return value
    return None


def _set(here: object, key: str | int, value: object) -> bool:
    if isinstance(here, dict):
        here[key] = value
        return True
    if isinstance(here, list) and isinstance(key, int) and key <= len(here):
        here[key : key + 1] = [value]
        return True
    return False


def _leaves(value: object, path: Path) -> list[Path]:
    """Return the paths of all values inside a value; an empty table counts as one."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        inner = list(enumerate(value))
    if not inner:
        return [path]
    return [leaf for key, part in inner for leaf in _leaves(part, (*path, key))]


def is_deep(value: object, room: int = MAX_DEPTH) -> bool:
    """Say whether tables and arrays are nested deeper than `room` levels."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (room == 0 or any(is_deep(part, room - 1) for part in value))


def read_text_file(path: FilePath) -> str:
    """Return a small UTF-8 file. OSError if it is unreadable, ValueError if it is not text."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        message = "is larger than 1 MiB"
        raise ValueError(message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = "is not UTF-8 text; save it as UTF-8"
        raise ValueError(message) from None


def read_config(draft: Draft, path: FilePath) -> None:
    """Read the settings file into an empty draft; GroxyError if it is no readable TOML."""
    origin = f"file {path}"
    try:
        text = read_text_file(path)
        values = tomllib.loads(text)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        text = f"the settings file cannot be read ({reason}); check --config or GROXY_CONFIG"
        raise error_of([Problem(origin, "", text)]) from None
    except RecursionError:
        raise error_of([Problem(origin, "", _TOO_DEEP)]) from None
    except ValueError as error:
        # The parser names line and column and repeats no value.
        text = str(error)
        if isinstance(error, tomllib.TOMLDecodeError):
            hint = "; text values need quotes" if "Invalid value" in text else ""
            text = f"is not valid TOML: {text}{hint}"
        raise error_of([Problem(origin, "", text)]) from None
    if is_deep(values):
        raise error_of([Problem(origin, "", _TOO_DEEP)])
    source = Source(origin, text)
    if "data_dir" in values:
        where = source.where(("data_dir",))
        del values["data_dir"]
        remedy = "cannot stand in the file; use --data-dir or GROXY_DATA_DIR"
        draft.problems.append(Problem(where, "data_dir", remedy))
    draft.values = values
    draft.note((), values, source)


def read_environment(draft: Draft, environ: Mapping[str, str]) -> None:
    """Lay all GROXY_ variables over the draft, whole tables before what is inside them."""
    found = [(_path_of(name), name) for name in environ if _is_setting(name, environ[name])]
    for path, name in sorted(found, key=_by_depth):
        _take(draft, path, environ[name], Source(f"environment {name}"))


def read_flags(draft: Draft, flags: Mapping[str, object]) -> None:
    """Lay command-line flags over the draft; None stands for a flag that was not given."""
    source = Source("command line")
    for name, value in flags.items():
        if value is not None:
            _take(draft, _path_of(PREFIX + name.replace(".", "__")), value, source)


_NOT_SETTINGS = frozenset({CONFIG_VARIABLE, DATA_DIR_VARIABLE, "GROXY_URL", "GROXY_APP_KEY"})
"""Where to look, and where commands find a running gateway."""


def _is_setting(name: str, value: str) -> bool:
    if not name.startswith(PREFIX) or name in _NOT_SETTINGS:
        return False
    is_link = name.endswith("PORT") and "__" not in name and _SERVICE_URL.match(value)
    return not is_link and not _SERVICE_LINK.fullmatch(name)


def _path_of(name: str) -> Path:
    parts = name.removeprefix(PREFIX).lower().split("__")
    is_account = parts[0] == "accounts" and len(parts) > 1 and re.fullmatch(r"[0-9]{1,4}", parts[1])
    return (parts[0], int(parts[1]), *parts[2:]) if is_account else tuple(parts)


def _by_depth(found: tuple[Path, str]) -> tuple[int, int, str]:
    path, name = found
    index = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
    return (len(path), index, name)


def _take(draft: Draft, path: Path, value: object, source: Source) -> None:
    place = schema.place_of(path)
    if place is None or path == ("data_dir",):
        draft.problems.append(unknown(path, source))
        return
    name = schema.dotted(path)
    try:
        if isinstance(value, str):
            value = _read_text(place, path, value)
    except ValueError as error:
        draft.problems.append(Problem(source.where(path), name, str(error)))
        return
    if place.kind is Kind.SECTION and isinstance(value, dict) and value:
        for key, part in value.items():
            _take_whole(draft, (*path, str(key)), part, source)
    else:
        _take_whole(draft, path, value, source)


def _take_whole(draft: Draft, path: Path, value: object, source: Source) -> None:
    if draft.put(path, value, source):
        return
    accounts = draft.values.get("accounts")
    if path[0] == "accounts" and isinstance(accounts, list) and path[1] not in range(len(accounts)):
        text = f"leaves a gap; the next account is accounts.{len(accounts)}"
        draft.problems.append(Problem(source.where(path), schema.dotted(path), text))


def _read_text(place: schema.Place, path: Path, text: str) -> object:
    """Return the value that a text stands for; ValueError if JSON was needed and is not there."""
    match place.kind:
        case Kind.VALUE if place.field is not None:
            return _read_value(place.field.annotation, path, text)
        case Kind.FREE if path[0] == "accounts" and len(path) > len(_OPTIONS):
            return text
        case Kind.FREE if path[0] == "models" and len(path) > len(_MODEL):
            return _read_json_or_text(text)
        case Kind.ACCOUNTS:
            example = "one variable for each field, as in GROXY_ACCOUNTS__0__NAME"
            return _read_json(text, f"an array in JSON, or {example}")
        case _:
            example = f"{schema.variable_of(schema.dotted(path))}__KEY"
            return _read_json(text, f"an object in JSON, or one variable for each key, {example}")


def _read_value(annotation: object, path: Path, text: str) -> object:
    """Return a number or a truth if the setting wants one and the text is one, else the text."""
    word = text.strip()
    if annotation is bool:
        return _TRUTHS.get(word.lower(), text)
    if annotation is int and _WHOLE_NUMBER.fullmatch(word):
        return int(word)
    if annotation is float and _NUMBER.fullmatch(word):
        return float(word)
    if path == ("app", "api_key") and word.startswith("["):
        return _read_json(word, "text, a comma list, or an array in JSON")
    return text


def _read_json_or_text(text: str) -> object:
    try:
        return _read_json(text, "JSON")
    except ValueError:
        return text


def _read_json(text: str, wanted: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        message = f"must be {wanted}"
        raise ValueError(message) from None
    if is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value
