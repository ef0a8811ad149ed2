"""Every setting, once: its name, type, default and help.

In come checked values, out goes one frozen `Settings`. What each field means stands beside it and
is what `groxy doctor` and docs/settings.md show. This module must not read files, variables or
flags, and has no rule that spans two sections (see `checks`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from groxy.settings import rules
from groxy.settings.rules import Shown
from groxy.settings.secret import Address

DEFAULT_STORE_URL = "sqlite+aiosqlite:///groxy.db"


class Section(BaseModel):
    """What all tables of the settings file have in common: frozen, strict, no unknown keys."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        str_max_length=8192,
    )


class ServerSettings(Section):
    """Where the gateway listens and what it takes in."""

    host: rules.Host = Field(
        default="127.0.0.1", description='Address to listen on. "0.0.0.0" is every IPv4 address.'
    )
    port: rules.Port = Field(default=8000, description="TCP port to listen on.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="Processes that serve. More than one needs a shared `state.url`."
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = Field(
        default=32 * 1024 * 1024,
        description="Largest request body; a larger one is answered with 413.",
    )
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0, description="How long open requests may go on after a stop signal."
    )


class AppSettings(Section):
    """Who may call, and under which address the gateway is known."""

    api_key: Annotated[
        rules.Keys | None, Shown("text, a comma list or an array of text", secret=True)
    ] = Field(
        default=None,
        description='Keys that callers send. `""` is open mode: no key is asked for. When absent, '
        "one key is generated at the first start.",
    )
    app_key: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None,
        description="The operator's key for /admin/api. When absent, one is generated at the "
        "first start.",
    )
    app_url: rules.WebUrl = Field(
        default="",
        description="Public base URL, for links to stored media. Empty: taken from the request.",
    )
    allow_open_network: bool = Field(
        default=False,
        description="Permit open mode on an address that other machines can reach.",
    )

    @property
    def is_open(self) -> bool:
        """True when callers need no key at all."""
        return self.api_key == ()


class FeatureSettings(Section):
    """What a request means where it says nothing."""

    stream: bool = Field(
        default=False, description="What a request without `stream` gets: a stream or one reply."
    )
    usage_counting: Literal["openai", "xai"] = Field(
        default="openai",
        description="How OpenAI's dialects tell usage: with reasoning inside output tokens, or "
        "beside them as xAI's own API does.",
    )
    fetch_private: bool = Field(
        default=False,
        description="Permit fetching pictures from private addresses, for upstreams that cannot "
        "fetch them. Callers name those addresses.",
    )


class StoreSettings(Section):
    """Where the books are kept."""

    url: rules.StoreUrl = Field(
        default=Address(DEFAULT_STORE_URL),
        description="Database. A SQLite file name is relative to the data folder; PostgreSQL is "
        "`postgresql+asyncpg://user:password@host/database`.",
    )


class StateSettings(Section):
    """Where limits, cool-downs and other short-lived state are kept."""

    url: rules.StateUrl = Field(
        default=Address("memory://"),
        description="`memory://` for one process, else `redis://host:6379/0`. `rediss://` (TLS) "
        "and `valkey://` work too.",
    )


class AttemptSettings(Section):
    """How often and how long upstreams are tried for one request."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Accounts tried for one request before the error is passed on."
    )
    connect_timeout_s: rules.Seconds = Field(default=10.0, description="Time to reach an upstream.")
    first_event_timeout_s: rules.Seconds = Field(
        default=600.0,
        description="Time to the first event. Reasoning models are silent for minutes.",
    )
    idle_timeout_s: rules.Seconds = Field(
        default=300.0, description="Longest silence between two events."
    )
    total_timeout_s: rules.Seconds = Field(
        default=3600.0, description="Longest time one request may take."
    )


class StreamSettings(Section):
    """How streams to callers are kept alive."""

    keepalive_s: Annotated[float, Field(gt=0, le=15)] = Field(
        default=15.0, description="Silence after which a keep-alive comment is sent."
    )


class CatalogSettings(Section):
    """Where the list of models comes from."""

    refresh_s: rules.RefreshSeconds = Field(
        default=3600.0,
        description="How often the model lists of upstreams are fetched; 0 is never.",
    )


class LoggingSettings(Section):
    """What is written to standard error."""

    level: rules.Level = Field(default="info", description="Least serious line that is written.")
    format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    requests: bool = Field(default=True, description="Write one line for each request.")


class SandboxSettings(Section):
    """How the built-in sandbox answers."""

    tokens_per_s: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=0.0, description="Pace of its streams; 0 is as fast as possible."
    )


class AccountSettings(Section):
    """One credential at one upstream.

    After loading, `api_key` also holds what `api_key_env` or `api_key_file` led to.
    """

    name: rules.AccountName = Field(description="Your name for the account; each only once.")
    upstream: rules.UpstreamName = Field(
        description='Who serves it: "xai", "openrouter", "cometapi", "cloudflare", '
        '"openai_compatible", "sandbox" or one that was added.'
    )
    api_key: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None,
        description="The credential. Give at most one of the three `api_key` settings.",
    )
    api_key_env: Annotated[rules.VariableName | None, Shown("a variable's name")] = Field(
        default=None, description="Environment variable that holds the credential."
    )
    api_key_file: Annotated[rules.FileName | None, Shown("a file name")] = Field(
        default=None,
        description="File that holds the credential; relative to the settings file's folder.",
    )
    base_url: Annotated[rules.BaseUrl | None, Shown("an http(s) URL")] = Field(
        default=None, description="Address to use instead of the upstream's own."
    )
    pool: rules.Pool = Field(
        default="heavy", description='Tier of the account; "heavy" may serve every model.'
    )
    options: dict[str, rules.Option] = Field(
        default={}, description="Further fields that the upstream declares. All are text."
    )

    @model_validator(mode="after")
    def _has_one_credential_at_most(self) -> Self:
        names = ("api_key", "api_key_env", "api_key_file")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            message = f"has {' and '.join(given)}; keep one of them"
            raise ValueError(message)
        return self

    def option_values(self) -> dict[str, str]:
        """Return the options unmasked, for the upstream that declared them."""
        return {name: value.reveal() for name, value in self.options.items()}


def _read_table(value: object) -> object:
    """Return the table that a variable holds as an object in JSON; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        message = "must be a table of text, or an object of text in JSON"
        raise ValueError(message) from None


class Settings(Section):
    """All settings of one gateway."""

    data_dir: Annotated[Path, Shown("a folder")] = Field(
        description="Folder for the database, stored media and generated keys."
    )
    server: ServerSettings = ServerSettings()
    app: AppSettings = AppSettings()
    features: FeatureSettings = FeatureSettings()
    store: StoreSettings = StoreSettings()
    state: StateSettings = StateSettings()
    attempts: AttemptSettings = AttemptSettings()
    streams: StreamSettings = StreamSettings()
    catalog: CatalogSettings = CatalogSettings()
    logging: LoggingSettings = LoggingSettings()
    sandbox: SandboxSettings = SandboxSettings()
    models: dict[str, dict[str, object]] = Field(
        default={},
        description="Changes to the model catalog, by model id. The catalog checks them.",
    )
    # A mapping, not a dict: what is in a dict counts as settings of their own, one by one.
    aliases: Annotated[
        Mapping[str, str], BeforeValidator(_read_table), Shown("a table of text")
    ] = Field(
        default={},
        description='Names of your own for models, such as `"claude-*" = "grok-4.3"`; `*` at '
        "the end stands for anything. The longest that matches counts.",
    )
    accounts: Annotated[tuple[AccountSettings, ...], Field(strict=False)] = Field(
        default=(), description="Accounts at upstreams."
    )

    def store_url(self) -> Address:
        """Return the database URL with a relative SQLite file placed in the data folder."""
        scheme, _, rest = self.store.url.reveal().partition("://")
        file, mark, query = rest.removeprefix("/").partition("?")
        is_relative = bool(file) and not file.startswith(("/", ":memory:", "file:"))
        if not scheme.startswith("sqlite") or not is_relative:
            return self.store.url
        return Address(f"{scheme}:///{self.data_dir.absolute() / file}{mark}{query}")
