"""The tables behind the catalog: their exact shape, and the operator's changes to them.

In: `catalog.toml` beside this file and the `[models.<id>]` tables of the settings. Out: one `Entry`
for each name. It must not fill in what an entry leaves open: `catalog.py` does.
"""

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.model import Capability
from groxy.routing.pools import Pool

_FILE = Path(__file__).with_name("catalog.toml")

_Usd = Annotated[str, msgspec.Meta(pattern=r"^\d+(\.\d+)?$")]
_Context = Annotated[int, msgspec.Meta(ge=0)]
_Mode = Literal["auto", "fast", "expert", "heavy", "grok43", "console", "official"]
_Dialect = Literal["chat", "responses", "messages", "completions", "images", "videos", "embeddings"]


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: _Usd
    cached: _Usd
    output: _Usd
    reasoning: _Usd | None = None
    """None: as output."""


class BaseRates(Rates, frozen=True, kw_only=True):
    """USD per million tokens; and per request, and per call of a tool that the upstream runs."""

    per_request: _Usd = "0"
    per_tool_call: _Usd = "0"


class LongRates(Rates, frozen=True, kw_only=True):
    """USD per million tokens, all of them, once the input reaches `from_tokens`."""

    from_tokens: Annotated[int, msgspec.Meta(gt=0)]


class Media(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """USD per picture made, per second of film made, and per picture handed in."""

    image: dict[str, _Usd] = {}
    second: dict[str, _Usd] = {}
    input_image: _Usd = "0"


class Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One table of the file, or of the operator's settings. None = as the model that it sends."""

    title: str | None = None
    capability: Capability | None = None
    tier: Pool = Pool.BASIC
    prefer_best: bool = False
    mode: _Mode = "official"
    sends: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    replacement: str | None = None
    retired: date | None = None
    why: str = ""
    effort: str | None = None
    quality: str | None = None
    context: _Context | None = None
    price: BaseRates | None = None
    long: LongRates | None = None
    media: Media | None = None
    reasons: bool | None = None
    efforts: tuple[str, ...] | None = None
    default_effort: str | None = None
    rejects: frozenset[str] | None = None
    dialects: frozenset[_Dialect] | None = None
    replays_reasoning: bool | None = None
    created: date | None = None
    aliases: tuple[str, ...] = ()
    upstream_ids: dict[str, str] = {}


class _Official(Entry, frozen=True, kw_only=True):
    created: date
    context: _Context
    dialects: frozenset[_Dialect]


class _Name(Entry, frozen=True, kw_only=True):
    sends: str


class _Retired(Entry, frozen=True, kw_only=True):
    retired: date
    replacement: str
    why: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    official: dict[str, _Official]
    names: dict[str, _Name]
    retired: dict[str, _Retired]


def shipped() -> dict[str, Entry]:
    """Return the file's: first what xAI serves, then the gateway's own names, then retired ids."""
    file = _read()
    return {**file.official, **file.names, **file.retired}


@functools.cache
def _read() -> _File:
    return msgspec.convert(tomllib.loads(_FILE.read_text("utf-8")), _File)


# ------------------------------------------------------------------------ the operator's tables

_TABLES: Mapping[str, type[msgspec.Struct]] = {
    "": Entry,
    "price": BaseRates,
    "long": LongRates,
    "media": Media,
}
_HINTS = {
    "price": 'Prices are USD per million tokens, as numbers in quotes: "2.00"',
    "long": 'Prices are USD per million tokens, as numbers in quotes: "4.00"',
    "media": 'Prices are USD, as numbers in quotes: "0.02"',
    "tier": f"It is one of {', '.join(pool.value for pool in Pool)}",
    "mode": f"It is one of {', '.join(get_args(_Mode))}",
    "dialects": f"A dialect is one of {', '.join(get_args(_Dialect))}",
    "capability": f"It is one of {', '.join(capability.value for capability in Capability)}",
}
# What stays when a name is given another model to send; all else was about the old model.
_ABOUT_THE_NAME = {
    *("title", "capability", "tier", "prefer_best", "mode"),
    *("created", "aliases", "retired", "replacement"),
}
_COMPLAINT = re.compile(r"(?P<text>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(?P<field>.*)`")


def changed(
    model_id: str,
    table: Mapping[str, object],
    entries: Mapping[str, Entry],
    shipped_owners: Mapping[str, str],
) -> Entry:
    """Return the entry of `model_id` with the operator's table laid over it.

    `shipped_owners` gives the id behind every id and alias of the file. Raises `GroxyError`
    (BAD_REQUEST) that names the wrong key.
    """
    entry = entries.get(model_id)
    if entry is None and "sends" not in table:
        owner = shipped_owners.get(model_id)
        hint = f"{model_id} is an alias: change models.{owner} instead, or say" if owner else "say"
        raise wrong(model_id, "sends", f"is missing: {hint} which model this name sends")
    old = {} if entry is None else msgspec.to_builtins(entry)
    if table.get("sends", old.get("sends")) != old.get("sends"):
        old = {key: value for key, value in old.items() if key in _ABOUT_THE_NAME}
    try:
        result = msgspec.convert(_merged(old, table), Entry)
    except msgspec.ValidationError as error:
        raise _complaint(model_id, str(error)) from None
    for alias in result.aliases if "aliases" in table else ():
        owner = shipped_owners.get(alias, model_id)
        if owner != model_id:
            raise wrong(model_id, "aliases", f"has {alias!r}, which stands for {owner} already")
    return result


def _merged(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    result = dict(old)
    for key, value in new.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            result[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _complaint(model_id: str, error: str) -> GroxyError:
    """Say in the operator's words what msgspec found wrong with a table."""
    found = _COMPLAINT.fullmatch(error)
    text, path = (found["text"], found["path"] or "") if found else (error, "")
    top = path.split(".")[0].split("[")[0]
    hint = f". {_HINTS[top]}" if top in _HINTS else ""
    field = _FIELD.fullmatch(text)
    if field is None:
        return wrong(model_id, path, f"is wrong: {text[:1].lower()}{text[1:]}{hint}")
    key = f"{path}.{field['field']}".lstrip(".")
    if "missing" in text:
        return wrong(model_id, key, f"is missing{hint}")
    known = msgspec.structs.fields(_TABLES[top])
    near = nearest(field["field"], [part.name for part in known])
    return wrong(model_id, key, f"is not a known key; the nearest is `{near}`")


def nearest(word: str, known: Sequence[str]) -> str:
    """Return the known word that is most like `word`."""
    return get_close_matches(word, known, n=1, cutoff=0)[0]


def wrong(model_id: str, key: str, what: str) -> GroxyError:
    """Return the error for one key of one table; `what` goes on where the key's name ends."""
    name = f"models.{model_id}.{key}"
    return GroxyError(ErrorKind.BAD_REQUEST, f"{name} {what}.", param=name)
