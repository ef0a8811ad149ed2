"""Puts the sources together: defaults, then the file, then the environment, then flags.

In come paths, flags and the environment, out goes `Loaded`: checked settings, and who gave each.
This module must not create files or folders, nor read the environment by itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from groxy.settings import schema
from groxy.settings.checks import check_together
from groxy.settings.credentials import find_credentials
from groxy.settings.problems import MOST_PROBLEMS, Problem, Source, error_of, problem_of
from groxy.settings.schema import CONFIG_VARIABLE, DATA_DIR_VARIABLE, dotted
from groxy.settings.sections import Settings
from groxy.settings.sources import Draft, read_config, read_environment, read_flags

CONFIG_NAME = "groxy.toml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the origin of each by dotted name, and what people should be told.

    `notes` are sentences on things that were seen but not used. `config` is the file that was
    read, or None.
    """

    settings: Settings
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One line of `groxy doctor`: secrets in `value` are masked."""

    name: str
    value: str
    origin: str


def load_settings(
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str],
) -> Loaded:
    """Return the settings of a gateway. GroxyError names every setting that is wrong.

    `flags` maps dotted names to values, such as `{"server.port": 9000}`; None means not given.
    `environ` is `os.environ`, or a stand-in.
    """
    folder, folder_origin = _find_data_dir(data_dir, environ)
    file, notes = _find_config(config, folder, environ)
    draft = Draft()
    if file is not None:
        read_config(draft, file)
    read_environment(draft, environ)
    read_flags(draft, flags or {})
    settings = _validate(draft, folder)
    start = file.parent if file is not None else Path()
    found = find_credentials(settings.accounts, draft, environ, start)
    settings = settings.model_copy(update={"accounts": tuple(found.accounts)})
    problems = found.problems + check_together(settings, draft)
    if problems:
        raise error_of(problems)
    givers, default = draft.givers(), Source("default")
    origins = {name: givers.get(path, default).origin for name, path, _ in values_in(settings)}
    origins |= {"data_dir": folder_origin} | found.origins
    return Loaded(settings, origins, (*notes, *found.notes), file)


def shown_settings(loaded: Loaded) -> tuple[ShownSetting, ...]:
    """Return every setting with its masked value and its origin, for `groxy doctor`."""
    return tuple(
        ShownSetting(name, _value_text(name, value), loaded.origins[name])
        for name, _, value in values_in(loaded.settings)
    )


def _validate(draft: Draft, folder: Path) -> Settings:
    problems = draft.problems
    settings = None
    try:
        settings = Settings.model_validate({**draft.values, "data_dir": folder})
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)
        for details in findings[:MOST_PROBLEMS]:
            loc = details["loc"]
            value = draft.value_at(loc)
            problems.append(problem_of(details, value, draft.source_of(loc)))
    # Outside the except block, so that no traceback shows pydantic's error and its input.
    if problems or settings is None:
        raise error_of(problems)
    return settings


def _find_data_dir(given: Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    variable = environ.get(DATA_DIR_VARIABLE, "")
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    if given is not None:
        text, origin = str(given), "command line"
    elif variable:
        text, origin = variable, f"environment {DATA_DIR_VARIABLE}"
    else:
        # The XDG specification says that a relative path in this variable is to be ignored.
        base = environ.get("XDG_DATA_HOME", "")
        text = f"{base}/groxy" if base.startswith("/") else "~/.local/share/groxy"
        origin = "default"
    if text == "~" or text.startswith("~/"):
        if not home:
            remedy = "cannot be found, as HOME is not set; give --data-dir or GROXY_DATA_DIR"
            raise error_of([Problem(origin, "data_dir", remedy)])
        text = home + text[1:]
    folder = Path(text).absolute()
    if _is_there(folder) and not folder.is_dir():
        remedy = f"is {folder}, which is a file; name a folder"
        raise error_of([Problem(origin, "data_dir", remedy)])
    return folder, origin


def _find_config(
    given: Path | None, folder: Path, environ: Mapping[str, str]
) -> tuple[Path | None, list[str]]:
    if given is not None:
        return given, []
    if named := environ.get(CONFIG_VARIABLE, ""):
        return Path(named), []
    places = [Path(CONFIG_NAME), folder / CONFIG_NAME]
    present = [place for place in places if _is_there(place)]
    if len(present) > 1 and not present[0].samefile(present[1]):
        note = f"{present[1]} is not read, as there is a {CONFIG_NAME} in the current folder."
        return present[0], [note]
    return (present[0] if present else None), []


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Nobody can look into the folder; whoever needs it will say so.
        return False


def values_in(settings: Settings) -> Iterator[tuple[str, schema.Path, object]]:
    """Yield (dotted name, path, value) for each setting, accounts and free keys one by one."""
    yield from _values_in(settings, ())


def _values_in(value: object, path: schema.Path) -> Iterator[tuple[str, schema.Path, object]]:
    if isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _values_in(getattr(value, key), (*path, key))
    elif path == ("accounts",) and isinstance(value, tuple):
        for index, account in enumerate(value):
            yield from _values_in(account, (*path, index))
    elif path and path[-1] in {"models", "options"} and isinstance(value, dict):
        for key, part in value.items():
            yield dotted((*path, key)), (*path, key), part
    else:
        yield dotted(path), path, value


def _value_text(name: str, value: object) -> str:
    if name == "app.api_key" and value == ():
        return '"" (open mode)'
    if name in {"app.api_key", "app.app_key", "app.secret_key"} and value is None:
        return "generated"
    return schema.toml_text(value)
