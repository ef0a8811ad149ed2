"""Every setting, once: its name, type, default and help.

In come checked values, out goes one frozen `Settings`. What each field means stands beside it and
is what `groxy doctor` and docs/settings.md show. This module must not read files, variables or
flags, and has no rule that spans two sections (see `checks`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from groxy.settings import rules
from groxy.settings.account import AccountSettings
from groxy.settings.networks import read_networks
from groxy.settings.rules import Shown
from groxy.settings.secret import Address
from groxy.settings.section import Section

DEFAULT_STORE_URL = "sqlite+aiosqlite:///groxy.db"


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
    trusted_proxies: Annotated[
        tuple[str, ...], BeforeValidator(read_networks), Shown("addresses and networks")
    ] = Field(
        default=(),
        description="Proxies before the gateway, such as `10.0.0.0/8`. Only their "
        "`X-Forwarded-For` says which address a request came from; for keys that are bound to "
        "addresses.",
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
    secret_key: Annotated[
        rules.SecretKey | None, Shown("32 bytes as 64 hex digits or base64", secret=True)
    ] = Field(
        default=None,
        description="The secret that seals credentials and digests keys, in place of the data "
        "folder's `secret.key`, which is made at the first start. Losing it loses all of them. "
        "Better as `GROXY_APP__SECRET_KEY` than in the file.",
    )

    @property
    def is_open(self) -> bool:
        """True when callers need no key at all."""
        return self.api_key == ()

    def secret_bytes(self) -> bytes | None:
        """Return the 32 bytes of `secret_key`; None when the data folder's own are used."""
        return None if self.secret_key is None else rules.bytes_of(self.secret_key)


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
    public_statistics: bool = Field(
        default=False,
        description="Tell everybody, without a key, how models did: `/v1/statistics/models`.",
    )

    image_format: rules.ImageFormat = Field(
        default="markdown",
        description="How chat shows a picture: its link, a picture in Markdown, or one in Markdown "
        "with the content in it. `grok_url`, `local_url`, `grok_md` and `local_md` work too.",
    )
    video_format: rules.VideoFormat = Field(
        default="markdown",
        description="How chat shows a film: its link, an HTML element that plays it, or a link in "
        "Markdown. `grok_url`, `local_url`, `grok_html` and `local_html` work too.",
    )


class MediaSettings(Section):
    """Where pictures, films and files are stored, how much of them and for how long."""

    url: rules.MediaUrl = Field(
        default=Address(""),
        description="Object store: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, "
        "`file:///folder` or `memory://`. Empty: the folder `media` in the data folder. "
        "Credentials come from the environment, as the cloud's own tools read them.",
    )
    image_max_mb: rules.Megabytes = Field(
        default=0,
        description="Most that all pictures may take; beyond it the oldest are deleted until a "
        "tenth is free. 0 is no bound.",
    )
    video_max_mb: rules.Megabytes = Field(default=0, description="The same for films.")
    file_max_mb: rules.Megabytes = Field(default=0, description="The same for callers' files.")
    max_image_bytes: rules.MediaBytes = Field(
        default=30 * 1024 * 1024, description="Largest picture that is taken in or stored."
    )
    max_video_bytes: rules.MediaBytes = Field(
        default=512 * 1024 * 1024, description="Largest film that is stored."
    )
    max_file_bytes: rules.UploadBytes = Field(
        default=50 * 1024 * 1024,
        description="Largest file of the Files API; one is held in memory while it comes.",
    )
    link_ttl_s: Annotated[int, Field(ge=0, le=315_360_000)] = Field(
        default=0,
        description="How long links to stored media work; then they are signed. 0: they work as "
        "long as there is something behind them.",
    )
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        default=30,
        description="How long pictures and films are kept; 0 is for ever. Callers' files are kept "
        "until they are deleted or expire as their owner said.",
    )


class StoreSettings(Section):
    """Where the books are kept."""

    url: rules.StoreUrl = Field(
        default=Address(DEFAULT_STORE_URL),
        description="Database. A SQLite file name is relative to the data folder; PostgreSQL is "
        "`postgresql+asyncpg://user:password@host/database`.",
    )
    grace_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=60.0,
        description="How long known keys are served on while the database cannot be reached. What "
        "is owed is written to a spool file meanwhile. 0 is not at all.",
    )
    spool_max_bytes: Annotated[int, Field(ge=65_536, le=2**40)] = Field(
        default=64 * 1024 * 1024,
        description="Largest spool file; when it is full, requests are refused until the database "
        "is back.",
    )


class StateSettings(Section):
    """Where limits, cool-downs and other short-lived state are kept."""

    url: rules.StateUrl = Field(
        default=Address("memory://"),
        description="`memory://` for one process, else `redis://host:6379/0`. `rediss://` (TLS) "
        "and `valkey://` work too.",
    )


class RoutingSettings(Section):
    """Which account serves a request."""

    strategy: Literal["quota", "random"] = Field(
        default="quota",
        description='How an account is chosen within a pool: "quota" weighs health, what is left '
        'of quotas, load, price and speed; "random" takes any that is fit.',
    )
    max_in_flight: rules.InFlight = Field(
        default=0,
        description="Requests that one account may serve at once, unless it says so itself; 0 is "
        "no bound.",
    )
    affinity: bool = Field(
        default=True,
        description="Keep a conversation with the account that served it last, while that account "
        "is fit; prompt caches need it.",
    )
    quotas: Annotated[
        Mapping[str, str], BeforeValidator(rules.read_quotas), Shown("a table of text")
    ] = Field(
        default={},
        description="Requests in a window for each account of a pool, by the mode of the model: "
        '`"super.fast" = "400/2h"`. What the upstream tells comes before it.',
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
    capacity_wait_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=2.0,
        description="How long a request waits for a busy account to become free before it is "
        "refused; 0 is not at all.",
    )
    backoff_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0.05,
        description="Pause before the next attempt after an upstream's own fault; it doubles each "
        "time, with jitter. 0 is none.",
    )
    backoff_max_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=1.0, description="Longest of these pauses."
    )
    also_rotate_on: rules.Statuses = Field(
        default=(),
        description="Statuses of upstreams after which another account is tried, although the "
        "gateway would pass the error on.",
    )
    never_rotate_on: rules.Statuses = Field(
        default=(),
        description="Statuses of upstreams after which no other account is tried, although the "
        "gateway would do so.",
    )
    hedge_percentile: rules.HedgePercentile = Field(
        default=0.0,
        description="Ask a second account when the first one's first event is later than this "
        "percentile of the model's latency, and take whichever answers first; 50 to 99.9, 0 is "
        "off. Both may be billed.",
    )
    hedge_max_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=5.0, description="Of 100 requests, at most this many are hedged."
    )
    hedge_max_cost_usd: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=0.05,
        description="What one hedge may cost at most, by estimate; 0 is no bound.",
    )


class CoolingSettings(Section):
    """How long an account rests after a failure."""

    limited_s: rules.Seconds = Field(
        default=1.0,
        description="First rest of a model at an account after a 429 without `Retry-After`; it "
        "doubles with each one in a row.",
    )
    limited_max_s: rules.Seconds = Field(default=60.0, description="Longest of these rests.")
    asked_max_s: rules.Seconds = Field(
        default=3600.0, description="Longest `Retry-After` of an upstream that is obeyed."
    )
    down_s: rules.Seconds = Field(
        default=5.0,
        description="First rest after failures of the upstream or the network; then one request "
        "tries whether it works again. It doubles as long as it does not.",
    )
    down_max_s: rules.Seconds = Field(default=60.0, description="Longest of these rests.")
    down_after: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Such failures in a row after which the account rests."
    )
    billing_s: Annotated[float, Field(gt=0, le=2_592_000)] = Field(
        default=3600.0,
        description="Rest of an account without credits until it is tried again, unless a refresh "
        "finds some before.",
    )
    confirm_s: rules.Seconds = Field(
        default=30.0, description="Longest rest while a rejected credential is checked."
    )


class RefreshSettings(Section):
    """How often upstreams are asked for quotas, the state of keys, and models."""

    every_s: rules.RefreshSeconds = Field(
        default=3600.0,
        description="Time between two refreshes of an account; 0 is only on demand.",
    )
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2,
        description="Part of that time by which each refresh is moved at random, so that not all "
        "accounts are asked at once.",
    )
    at_once: Annotated[int, Field(ge=1, le=256)] = Field(
        default=8, description="Accounts of one upstream that are refreshed at the same time."
    )


class StreamSettings(Section):
    """How streams to callers are kept alive."""

    keepalive_s: Annotated[float, Field(gt=0, le=15)] = Field(
        default=15.0, description="Silence after which a keep-alive comment is sent."
    )


class BillingSettings(Section):
    """What is held for a request, and for how long things are kept that money hangs on."""

    default_output_tokens: Annotated[int, Field(ge=256, le=1_000_000)] = Field(
        default=32_000,
        description="Output for which credits are held when a caller that pays names no bound. A "
        "whole reply is bounded by it; a stream goes on as long as there are credits.",
    )
    idempotency_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        default=24,
        description="How long the reply to a request with an `Idempotency-Key` is kept for "
        "whoever sends it again.",
    )
    stripe_secret_key: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None,
        description="Secret key of a Stripe account. With `billing.stripe_webhook_secret` users "
        "can buy credits by Stripe Checkout; without both, payments are off.",
    )
    stripe_webhook_secret: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None,
        description="What Stripe signs its messages to `/v1/webhooks/stripe` with (`whsec_…`).",
    )
    stripe_success_url: rules.PageUrl = Field(
        default="", description="Page to which Stripe sends a user who has paid."
    )
    stripe_cancel_url: rules.PageUrl = Field(
        default="", description="Page for a user who has not; empty: the same one."
    )
    stripe_api_base: rules.WebUrl = Field(
        default="",
        description="Address of a stand-in for Stripe's API, for tests; empty: Stripe itself.",
    )
    least_topup_usd: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=5, description="Least amount of a top-up, in US dollars."
    )
    most_topup_usd: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Largest amount of a top-up, in US dollars."
    )
    low_balance_usd: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0,
        description="A user's balance below which `billing.low_balance_url` is told, unless the "
        "user has a bound of their own; in US dollars. 0: only of users who have one.",
    )
    low_balance_url: rules.HookUrl = Field(
        default=Address(""),
        description="Where low balances are posted to; empty: nowhere. It may be a private "
        "address.",
    )
    low_balance_secret: Annotated[rules.Key | None, Shown("text", secret=True)] = Field(
        default=None, description="What those messages are signed with (HMAC-SHA256)."
    )


class RetentionSettings(Section):
    """How long single requests and other lines are kept. What money hangs on stays for ever."""

    request_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        default=90,
        description="How long single requests and their attempts are kept, for looking them up and "
        "for receipts; 0 is for ever. Ledger, balances and sums of days are never deleted.",
    )
    request_max_mb: rules.Megabytes = Field(
        default=0,
        description="Most that single requests and their attempts may take, by estimate; beyond it "
        "the oldest are deleted, but none of the last hour. 0 is no bound.",
    )
    audit_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        default=0, description="How long the audit of operators' acts is kept; 0 is for ever."
    )
    statistics_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        default=90,
        description="How long the hourly figures of models are kept; 0 is for ever.",
    )


class AdminSettings(Section):
    """How the operator's API is reached."""

    query_key: bool = Field(
        default=True,
        description="Take the operator's key from `?app_key=` as well; off is the header only. "
        "Addresses end up in logs of proxies, headers do not.",
    )
    docs: bool = Field(default=False, description="Serve pages that describe the API at /docs.")


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


class Settings(Section):
    """All settings of one gateway."""

    data_dir: Annotated[Path, Shown("a folder")] = Field(
        description="Folder for the database, stored media and generated keys."
    )
    server: ServerSettings = ServerSettings()
    app: AppSettings = AppSettings()
    features: FeatureSettings = FeatureSettings()
    media: MediaSettings = MediaSettings()
    store: StoreSettings = StoreSettings()
    state: StateSettings = StateSettings()
    routing: RoutingSettings = RoutingSettings()
    attempts: AttemptSettings = AttemptSettings()
    cooling: CoolingSettings = CoolingSettings()
    refresh: RefreshSettings = RefreshSettings()
    streams: StreamSettings = StreamSettings()
    billing: BillingSettings = BillingSettings()
    retention: RetentionSettings = RetentionSettings()
    admin: AdminSettings = AdminSettings()
    logging: LoggingSettings = LoggingSettings()
    sandbox: SandboxSettings = SandboxSettings()
    models: dict[str, dict[str, object]] = Field(
        default={},
        description="Changes to the model catalog, by model id. The catalog checks them.",
    )
    # A mapping, not a dict: what is in a dict counts as settings of their own, one by one.
    aliases: Annotated[
        Mapping[str, str], BeforeValidator(rules.read_table), Shown("a table of text")
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
