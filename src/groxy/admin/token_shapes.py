"""What clients send about accounts; the admin contract calls an account a token.

In: bodies and query parameters. Out: pydantic models, and errors with the code that the contract
has for each bound. It must not know an account: what a field does is elsewhere.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from groxy.admin.shapes import Given
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import MAX_PRIORITY, MAX_TAG_CHARS, MAX_TAGS, MAX_WEIGHT

MAX_TOKENS = 1000
"""How many accounts one change may name."""
MAX_TOKEN_CHARS = 4096
MAX_NAME_CHARS = 128
MAX_PAGE_SIZE = 1000
MAX_AT_ONCE = 80
POOLS = ("basic", "super", "heavy")
MODES = ("auto", "fast", "expert", "heavy", "console")
"""The modes whose quota is always shown; others are shown where something is known of them."""
_MAX_PAGE = 1_000_000_000
_TEN_POWER = 10**12
_MAX_MODELS = 256
_MAX_MODEL_CHARS = 256
_MAX_MODES = 32
_MODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


def refused(message: str, *, param: str, code: str = "") -> GroxyError:
    """Return the error for a request that cannot be meant so."""
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param, code=code)


# ------------------------------------------------------------------------------- what is checked


def read_pool(value: object) -> object:
    """Return a pool's name as it is; raise `invalid_pool` for anything that is none."""
    if value is None or value in POOLS:
        return value
    message = "There is no such pool. The pools are basic, super and heavy."
    raise refused(message, param="pool", code="invalid_pool")


def _read_pool_to_add(value: object) -> object:
    # Nothing at an official key tells its tier, and a heavy account may serve every model.
    return "heavy" if value == "auto" else read_pool(value)


def read_tags(value: object) -> object:
    """Return tags as they are; raise `too_many_tags` or `tag_too_long` for more than can be."""
    if isinstance(value, list) and len(value) > MAX_TAGS:
        message = f"An account has {MAX_TAGS} tags at most; these are {len(value)}."
        raise refused(message, param="tags", code="too_many_tags")
    if isinstance(value, list):
        for tag in value:
            if isinstance(tag, str) and len(tag) > MAX_TAG_CHARS:
                message = f"A tag has {MAX_TAG_CHARS} characters at most. Choose a shorter word."
                raise refused(message, param="tags", code="tag_too_long")
    return value


def _read_number(value: object) -> object:
    # Pydantic takes true for 1.
    if isinstance(value, bool):
        message = "must be a number, not true or false"
        raise ValueError(message)
    return value


def _check_models(models: list[str] | None) -> list[str] | None:
    """Return patterns that a database and a page of accounts can take."""
    _check_count(models or (), _MAX_MODELS)
    if any(len(one) > _MAX_MODEL_CHARS or not one.isprintable() for one in models or ()):
        message = f"must hold model ids of {_MAX_MODEL_CHARS} characters at most, on one line each"
        raise ValueError(message)
    return models


def _check_modes(quotas: dict[str, str] | None) -> dict[str, str] | None:
    """Return quotas whose names are modes."""
    _check_count(quotas or (), _MAX_MODES)
    if not all(map(_MODE.fullmatch, quotas or ())):
        message = 'must have modes for names: words in lower-case letters, such as "fast"'
        raise ValueError(message)
    return quotas


def _check_count(items: Iterable[object], most: int) -> None:
    if len(tuple(items)) > most:
        message = f"has too many entries; {most} are the most"
        raise ValueError(message)


Whole = Annotated[int | None, BeforeValidator(_read_number)]
PoolName = Literal["basic", "super", "heavy"]
StatusName = Literal["active", "cooling", "expired", "disabled"]
Tags = Annotated[list[str] | None, BeforeValidator(read_tags)]
PoolGiven = Annotated[PoolName | None, BeforeValidator(read_pool)]
PoolToAdd = Annotated[PoolName | None, BeforeValidator(_read_pool_to_add)]

# What is wrong with these is told with a code of its own: see `errors.CODES`.
Page = Annotated[int, Query(ge=1, le=_MAX_PAGE, description="From 1.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
PoolAsked = Annotated[PoolName | None, Query(description="The pool.")]
StatusAsked = Annotated[StatusName | None, Query(description="How the account stands.")]
AtOnce = Annotated[int | None, Query(ge=1, le=MAX_AT_ONCE, description="Accounts at once.")]
TokenName = Annotated[
    str, Field(description="An account: its id, its name or its credential.", examples=["acc_0f3a"])
]

# --------------------------------------------------------------------------------- what is sent


class TermFields(Given):
    """What the operator lays down for an account. Left out: as it was, or the usual. Null: the
    usual.
    """

    tags: Tags = Field(default=None, description="Words to find and prefer it by.")
    weight: Whole = Field(
        default=None,
        ge=1,
        le=MAX_WEIGHT,
        description="Its share of the work among others of its pool and priority; usually 1.",
    )
    priority: Whole = Field(
        default=None,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="Accounts of a higher one go first within their pool; usually 0.",
    )
    max_in_flight: Whole = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Requests at once; 0 is what `routing.max_in_flight` says.",
    )
    models: Annotated[list[str] | None, AfterValidator(_check_models)] = Field(
        default=None, description="Model ids it may serve; `*` at the end stands for anything."
    )
    rpm: Whole = Field(default=None, ge=0, le=10**9, description="Requests a minute; 0: any.")
    tpm: Whole = Field(default=None, ge=0, le=_TEN_POWER, description="Tokens a minute.")
    quotas: Annotated[dict[str, str] | None, AfterValidator(_check_modes)] = Field(
        default=None,
        description="Requests in a window, by the mode of the model.",
        examples=[{"fast": "400/2h"}],
    )


class PlaceFields(TermFields):
    """Where an account's requests go, beside its terms."""

    base_url: str | None = Field(default=None, description="Its own address.")
    proxy_url: str | None = Field(
        default=None, description="A proxy; http, https, socks4 or socks5.", max_length=2048
    )
    options: dict[str, str | None] | None = Field(
        default=None, description="Further fields that the upstream declares, such as `account_id`."
    )


class TokenDraft(PlaceFields):
    """An account to add, where the credential alone does not say all."""

    token: str = Field(default="", description="The credential.", examples=["xai-…"])
    upstream: str | None = Field(
        default=None, description="Who serves it; left out: by how the credential begins."
    )
    name: str | None = Field(
        default=None, description="Left out: one is made.", max_length=MAX_NAME_CHARS
    )
    pool: PoolToAdd = Field(default=None, description="Left out, or `auto`: heavy.")


_DRAFT = TokenDraft.model_json_schema()
ITEMS = {"type": "array", "items": {"anyOf": [{"type": "string"}, _DRAFT]}}
"""How a list of credentials and drafts is described; it is read by hand, one by one."""
Items = Annotated[list[Any], WithJsonSchema(ITEMS)]


class AddTokens(PlaceFields):
    """Accounts to add. What stands beside `tokens` goes for each that does not say otherwise."""

    tokens: Items = Field(
        description=f"Credentials, or objects (see TokenDraft); {MAX_TOKENS} at most.",
        examples=[["xai-…", {"token": "sk-or-…", "name": "second", "weight": 3}]],
    )
    upstream: str | None = None
    pool: PoolToAdd = Field(default=None, description="Left out, or `auto`: heavy.")


class EditToken(PlaceFields):
    """New values for an account. What is left out stays as it is."""

    old_token: TokenName
    token: str | None = Field(
        default=None, description="A new credential; the same one or null changes nothing."
    )
    pool: PoolGiven = None
    name: str | None = Field(default=None, max_length=MAX_NAME_CHARS)


class PatchToken(PlaceFields):
    """New values for an account. What is left out stays as it is."""

    pool: PoolGiven = None
    name: str | None = Field(default=None, max_length=MAX_NAME_CHARS)


class DisableToken(Given):
    """Take an account out of service, or put it back."""

    token: TokenName
    disabled: bool


class DisableTokens(Given):
    """Take accounts out of service, or put them back."""

    tokens: list[str]
    disabled: bool


class ReplacePool(Given):
    """All accounts of a pool."""

    pool: Annotated[PoolName, BeforeValidator(read_pool)]
    tokens: Items = Field(
        description="Credentials, ids, names or objects (see TokenDraft). Those of the pool that "
        "are not among them are removed."
    )
    tags: Tags = Field(default=None, description="For each that has none of its own.")


class CoolToken(Given):
    """Let an account rest."""

    seconds: float = Field(gt=0, le=31 * 86_400, allow_inf_nan=False, examples=[600])
    model: str = Field(default="", max_length=256, description="One model of it, as it is sent.")


class ClearToken(Given):
    """End rests of an account before their time."""

    model: str = Field(default="", max_length=256, description="Left out: all of them.")


class Confirm(Given):
    """Say that it is meant."""

    confirm: bool = False


class Tokens(Given):
    """Which accounts."""

    tokens: list[str] = Field(default_factory=list, examples=[["acc_0f3a", "acc_9c12"]])
