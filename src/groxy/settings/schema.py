"""The settings as a list and as a tree: which names exist, what they take, which name is nearest.

In come the models of `sections`, out go `SettingInfo` rows for docs and doctor, and answers for
those who read the sources. This module must not hold values, nor a second list of settings.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from groxy.settings.account import AccountSettings
from groxy.settings.rules import Shown
from groxy.settings.secret import Secret
from groxy.settings.sections import Settings

PREFIX = "GROXY_"
# These two say where to look, so they are no part of any table.
CONFIG_VARIABLE = "GROXY_CONFIG"
DATA_DIR_VARIABLE = "GROXY_DATA_DIR"

Path = tuple[str | int, ...]

# Sections that are gone, and the setting that does now what they did.
_RENAMED = {"catalog": "refresh.every_s"}


class Kind(Enum):
    """What stands at a path: a table of known keys, accounts, free keys, or a value."""

    SECTION = "section"
    ACCOUNTS = "accounts"
    FREE = "free"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting as docs and doctor show it. `default` is written as in TOML, or in words."""

    name: str
    type: str
    default: str
    help: str
    secret: bool
    environment: str


@dataclass(frozen=True, slots=True)
class Place:
    """What the models say about one path."""

    kind: Kind
    field: FieldInfo | None = None
    model: type[BaseModel] | None = None

    @property
    def is_secret(self) -> bool:
        """True when a value found here must not be repeated in a message."""
        return self.field is None or self.kind is not Kind.VALUE or shown_of(self.field).secret


@cache
def every_setting() -> tuple[SettingInfo, ...]:
    """Return each setting once, in the order of the settings file."""
    return tuple(_describe_all(Settings, ""))


def _describe_all(model: type[BaseModel], prefix: str) -> Iterator[SettingInfo]:
    for key, field in model.model_fields.items():
        name, inner = prefix + key, _model_in(field)
        if inner is AccountSettings:
            yield from _describe_all(inner, f"{name}[].")
        elif inner is not None:
            yield from _describe_all(inner, f"{name}.")
        elif _is_free(field):
            yield _describe(f"{name}.<{_FREE_KEYS[key]}>", field)
        else:
            yield _describe(name, field)


_FREE_KEYS = {"models": "model id", "options": "field"}


def _describe(name: str, field: FieldInfo) -> SettingInfo:
    variable = re.sub(r"<.*>", "<NAME>", name.replace("[]", ".0")).replace(".", "__")
    variable = re.sub(r"^[^<]*", lambda found: found[0].upper(), variable)
    shown = shown_of(field)
    return SettingInfo(
        name=name,
        type=shown.type,
        default=_default_text(name, field),
        help=field.description or "",
        secret=shown.secret,
        environment=PREFIX + variable,
    )


def _default_text(name: str, field: FieldInfo) -> str:
    if name == "data_dir":
        return "~/.local/share/groxy"
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "generated" if name.startswith("app.") else "none"
    return toml_text(field.default)


def toml_text(value: object) -> str:
    """Return a value as TOML would write it; secrets are masked."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.15g}"
        case int():
            return str(value)
        case None:
            return "not set"
        case list() | tuple():
            return "[" + ", ".join(toml_text(part) for part in value) + "]"
        case dict():
            return (
                "{" + ", ".join(f"{key} = {toml_text(part)}" for key, part in value.items()) + "}"
            )
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown_of(field: FieldInfo) -> Shown:
    """Return how a field's type is described: by its own words, else from its annotation."""
    for mark in field.metadata:
        if isinstance(mark, Shown):
            return mark
    annotation = field.annotation
    if _is_free(field):
        is_secret = Secret in _names_in(annotation)
        return Shown("text" if is_secret else "a table", secret=is_secret)
    if get_origin(annotation) is Literal:
        *choices, last = map(toml_text, get_args(annotation))
        return Shown(f"{', '.join(choices)} or {last}")
    if annotation is bool:
        return Shown("true or false")
    if annotation is int:
        return Shown("a whole number" + _bounds_text(field))
    if annotation is float:
        return Shown("a number" + _bounds_text(field))
    return Shown("text")


def _bounds_text(field: FieldInfo) -> str:
    low, high = "", ""
    for mark in field.metadata:
        match mark:
            case Ge(ge=bound):
                low = f" from {toml_text(bound)}"
            case Gt(gt=bound):
                low = f" above {toml_text(bound)},"
            case Le(le=bound):
                high = toml_text(bound)
            case _:
                pass
    return low + (f" up to {high}" if " above" in low else f" to {high}") if high else low


def _names_in(annotation: object) -> set[object]:
    found: set[object] = {annotation}
    for part in get_args(annotation):
        found |= _names_in(part)
    return found


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    for part in _names_in(field.annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _is_free(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


def place_of(path: Sequence[str | int]) -> Place | None:
    """Return what belongs at `path`, or None if there is no such setting."""
    here = Place(Kind.SECTION, model=Settings)
    for key in path:
        if here.kind is Kind.FREE:
            return here
        if here.kind is Kind.ACCOUNTS:
            if not isinstance(key, int):
                return None
            here = Place(Kind.SECTION, model=AccountSettings)
            continue
        field = here.model.model_fields.get(str(key)) if here.model else None
        if field is None:
            return None
        here = _place_of_field(field)
    return here


def _place_of_field(field: FieldInfo) -> Place:
    model = _model_in(field)
    if model is AccountSettings:
        return Place(Kind.ACCOUNTS, field, model)
    if model is not None:
        return Place(Kind.SECTION, field, model)
    return Place(Kind.FREE if _is_free(field) else Kind.VALUE, field)


def nearest(path: Path) -> str | None:
    """Return the dotted name of the setting that was probably meant, if one is near enough."""
    if path[0] in _RENAMED:
        return _RENAMED[str(path[0])]
    wanted = _flat(dotted(path))
    for setting in every_setting():
        if _flat(setting.name) == wanted:
            return setting.name
    known = len(path) - 1
    while (place := place_of(path[:known])) is None:
        known -= 1
    siblings = list(place.model.model_fields) if place.model else []
    if close := difflib.get_close_matches(str(path[known]), siblings, n=1):
        table = (*path[:known], 0) if place.kind is Kind.ACCOUNTS else path[:known]
        better = (*table, close[0], *path[known + 1 :])
        fallback = dotted((*table, close[0]))
        return dotted(better) if place_of(better) else nearest(better) or fallback
    return _nearest_elsewhere(str(path[-1]))


def _nearest_elsewhere(key: str) -> str | None:
    plain = [info.name for info in every_setting() if "[" not in info.name and "<" not in info.name]
    by_last = {name.rpartition(".")[2]: name for name in reversed(plain)}
    close = difflib.get_close_matches(key, by_last, n=1, cutoff=0.75)
    return by_last[close[0]] if close else None


def _flat(name: str) -> str:
    return re.sub(r"[._-]+", "_", name.lower())


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as one name: `accounts.0.name`."""
    return ".".join(str(key) for key in path)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: `GROXY_SERVER__PORT`."""
    return PREFIX + name.replace(".", "__").upper()
