"""Changes that the operator makes while the gateway runs, and the configuration as it is shown.

In come what was loaded and the operator's overrides by dotted name, out go settings with the
overrides in force, or one `GroxyError` that names the setting. Overrides are the last word over
file, variables and flags. This module must not keep or send anything, nor show a secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import schema
from groxy.settings.checks import check_together
from groxy.settings.loading import Loaded, values_in
from groxy.settings.problems import MOST_PROBLEMS, Problem, Source, problem_of, unknown
from groxy.settings.schema import Kind, Path, dotted
from groxy.settings.secret import MASK, Address, Secret
from groxy.settings.section import Section
from groxy.settings.sections import Settings
from groxy.settings.sources import MAX_DEPTH, Draft, is_deep

ORIGIN = "admin API"
START_ONLY = frozenset(
    {
        "data_dir",
        "server",
        "store",
        "state",
        "sandbox",
        "app.secret_key",
        "media.url",
        "accounts",
        # Whoever changed it would be sent the secret key.
        "billing.stripe_api_base",
    }
)
"""Sections and settings that are read once, at the start. Accounts have endpoints of their own."""
TABLES = frozenset({"models", "aliases", "routing.quotas"})
"""Tables whose keys the operator chooses. An override replaces such a table as a whole."""
_LONGEST_NAME = 200
_CUT = "…"
_SOURCE = Source(ORIGIN)


def is_start_only(name: str) -> bool:
    """Say whether a setting (`server.port`, `accounts[].name`) or section needs a restart."""
    parts = name.replace("[]", "").split(".")
    return any(".".join(parts[:end]) in START_ONLY for end in range(1, len(parts) + 1))


def flattened(patch: Mapping[str, object]) -> dict[str, object]:
    """Return a nested patch by dotted names: `{"routing": {"strategy": …}}`.

    Dotted names within the patch are taken as well. None takes an override back; for a section it
    takes back all of it. The tables in `TABLES` are replaced whole: a patch of `aliases` holds all
    aliases. Values are not checked here, `with_overrides` does that.
    GroxyError BAD_REQUEST with `param`: code `unknown_config_key`, `startup_only_config`, or
    `invalid_value` for a section that is no object and for a masked secret that was sent back.
    """
    return dict(_changes_in(patch, ()))


def with_overrides(loaded: Loaded, overrides: Mapping[str, object]) -> Loaded:
    """Return what was loaded with the overrides (dotted name to value) in force.

    `loaded` is what file, variables and flags gave, without overrides, so that one which is taken
    back leaves nothing behind. Refuses what `flattened` refuses, and GroxyError BAD_REQUEST code
    `invalid_value` for values and combinations that cannot be.
    """
    draft = Draft()
    for name, value in flattened(overrides).items():
        if value is not None:
            draft.put(tuple(name.split(".")), value, _SOURCE)
    settings = _validated(loaded.settings, draft)
    if problems := check_together(settings, draft):
        raise _refusal_of(problems)
    givers = draft.givers()
    origins = {
        name: ORIGIN if path in givers else loaded.origins.get(name, "default")
        for name, path, _ in values_in(settings)
    }
    return replace(loaded, settings=settings, origins=origins)


def shown_config(loaded: Loaded) -> dict[str, object]:
    """Return all settings as a nested object, ready for JSON; of accounts only their number.

    Keys show four characters at either end, if they are long enough; URLs show no password.
    """
    shown: dict[str, object] = {}
    for key in Settings.model_fields:
        value = getattr(loaded.settings, key)
        if isinstance(value, Section):
            shown[key] = {inner: _shown(part) for inner, part in _fields_of(value).items()}
        else:
            shown[key] = len(value) if key == "accounts" else _shown(value)
    app = loaded.settings.app
    secret_key = None if app.secret_key is None else _CUT
    api_key = "" if app.is_open else _shown(app.api_key)
    return shown | {"app": {**_table(shown["app"]), "api_key": api_key, "secret_key": secret_key}}


def described_config() -> list[dict[str, object]]:
    """Return what a form needs: name, type, default, help, secret and start_only of each setting.

    `default` is ready for JSON; null where there is none or it is made at the first start. Fields
    of accounts are named `accounts[].…`.
    """
    return [
        {
            "name": info.name.partition(".<")[0],
            "type": info.type,
            "default": _default_of(info),
            "help": info.help,
            "secret": info.secret,
            "start_only": is_start_only(info.name),
        }
        for info in schema.every_setting()
    ]


def _changes_in(table: Mapping[str, object], above: Path) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        path = (*above, *_parts_of(key))
        place = schema.place_of(path)
        _refuse_inside_table(path)
        if place is None:
            raise _refusal("unknown_config_key", dotted(path), unknown(path, _SOURCE).text)
        if place.kind is not Kind.SECTION:
            yield dotted(path), _checked(path, place, value)
        elif isinstance(value, Mapping):
            yield from _changes_in(value, path)
        elif value is not None:
            raise _refusal("invalid_value", dotted(path), "must be an object with its settings")
        elif place.model is not None:
            yield from _changes_in(dict.fromkeys(place.model.model_fields), path)


def _parts_of(key: str) -> Path:
    if not 0 < len(key) <= _LONGEST_NAME:
        name = f"{key[:_LONGEST_NAME]}{_CUT}" if key else '""'
        text = "is not a setting; docs/settings.md lists all of them"
        raise _refusal("unknown_config_key", name, text)
    return tuple(key.split("."))


def _refuse_inside_table(path: Path) -> None:
    for end in range(1, len(path)):
        if (table := dotted(path[:end])) in TABLES:
            text = f"cannot be set alone; send all of {table}, which is replaced as a whole"
            raise _refusal("invalid_value", dotted(path), text)


def _checked(path: Path, place: schema.Place, value: object) -> object:
    name = dotted(path)
    if path[0] == "accounts":
        text = "cannot be set here; /admin/api/tokens adds, changes and deletes accounts"
        raise _refusal("startup_only_config", name, text)
    if is_start_only(name):
        text = "is read at the start only; set it in the settings file and restart"
        raise _refusal("startup_only_config", name, text)
    if is_deep(value):
        raise _refusal("invalid_value", name, f"is nested more than {MAX_DEPTH} levels deep")
    if place.kind is Kind.VALUE and place.is_secret and _is_masked(value):
        text = "is masked as it was shown; send the whole key, or leave it out to keep it"
        raise _refusal("invalid_value", name, text)
    return value


def _is_masked(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_masked, value))
    return isinstance(value, str) and (_CUT in value or MASK in value)


def _refusal(code: str, name: str, text: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"{name} {text}", param=name, code=code)


def _refusal_of(problems: list[Problem]) -> GroxyError:
    lines = list(dict.fromkeys(f"{problem.setting} {problem.text}" for problem in problems))
    if len(lines) > MOST_PROBLEMS:
        lines[MOST_PROBLEMS:] = ["and more"]
    return GroxyError(ErrorKind.BAD_REQUEST, "\n".join(lines), param=problems[0].setting)


def _validated(settings: Settings, draft: Draft) -> Settings:
    values = _fields_of(settings)
    for key, value in draft.values.items():
        here = values[key]
        values[key] = {**_fields_of(here), **_table(value)} if isinstance(here, Section) else value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)[:MOST_PROBLEMS]
    # Outside the except block, so that no traceback shows pydantic's error and its input.
    raise _refusal_of(
        [problem_of(found, draft.value_at(found["loc"]), _SOURCE) for found in findings]
    )


def _fields_of(section: Section) -> dict[str, object]:
    # Not model_dump, which masks secrets and would put the masks in force.
    return {key: getattr(section, key) for key in type(section).model_fields}


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _shown(value: object) -> object:
    match value:
        case Address():
            return str(value)
        case Secret():
            return value.hint()
        case None | bool() | int() | str():
            return value
        case float() if isfinite(value):
            return value
        case Mapping():
            return {str(key): _shown(part) for key, part in value.items()}
        case list() | tuple():
            return [_shown(part) for part in value]
        case _:
            # Paths, and what TOML has but JSON has not: dates, times, infinity.
            return str(value)


def _default_of(info: schema.SettingInfo) -> object:
    if info.name == "data_dir":
        return info.default
    path: Path = ()
    for part in info.name.split("."):
        path += (part.removesuffix("[]"), 0) if part.endswith("[]") else (part,)
    place = schema.place_of(path)
    default = None if place is None or place.field is None else place.field.default
    return None if default is PydanticUndefined else _shown(default)
