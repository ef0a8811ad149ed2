"""What is told about accounts; the admin contract calls an account a token.

In: nothing. Out: pydantic models of the answers. Times are unix milliseconds, money is ticks. A
credential is never in them but masked, except in `Revealed`.
"""

from typing import Any, Literal

from pydantic import Field

from groxy.admin.shapes import ErrorAnswer, Told
from groxy.admin.token_shapes import PoolName, StatusName

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "There is no such account, task or file."}
}
CHANGING: dict[int | str, dict[str, Any]] = NOT_FOUND | {
    409: {"model": ErrorAnswer, "description": "It is declared elsewhere, or taken, or stands so."}
}


class Quota(Told):
    """What is left in a window. `remaining` is null where nothing is known."""

    remaining: int | None
    total: int | None
    window_seconds: int | None = None
    reset_at: int | None = None
    synced_at: int | None = Field(default=None, description="When the upstream told it last.")
    source: Literal["real", "estimated", "default"] = "default"


NO_QUOTA = Quota(remaining=None, total=None)


class ModelRest(Told):
    """A rest of one model."""

    model: str
    until: int
    reason: str


class Cooling(Told):
    """Rests. `until` is null where nothing but a refresh ends it, or only models rest."""

    until: int | None
    reason: str
    models: list[ModelRest]


class Token(Told):
    """An account."""

    token: str = Field(description="Its credential, masked.", examples=["xai-abcd...wxyz1234"])
    id: str = Field(examples=["acc_0123456789abcdef01234567"])
    name: str
    upstream: str
    origin: str = Field(description="Where it was declared: store, settings, environment, …")
    base_url: str
    proxy: str = Field(description="Host and port of its proxy; empty for none.")
    pool: PoolName
    status: StatusName
    reason: str = Field(description="Why it stands so; empty for an active one.")
    since: int | None = Field(description="Since when it stands so.")
    cooling: Cooling | None = Field(description="What rests; null when nothing does.")
    quota: dict[str, Quota] = Field(description="By mode; auto, fast, expert, heavy, console are.")
    use_count: int
    fail_count: int
    token_count: int
    cost_ticks: int = Field(description="In 10^-10 US dollars.")
    last_used_at: int | None
    last_failed_at: int | None
    last_error: str
    tags: list[str]
    weight: int
    priority: int
    max_in_flight: int
    models: list[str]
    rpm: int
    tpm: int
    quotas: dict[str, str]
    in_flight: int = Field(description="Requests under way, in all processes.")
    health: float = Field(description="1 is well.")
    latency_ms: int | None = Field(description="Until a stream begins: a moving average.")
    tokens_per_s: float | None
    price_ratio: float = Field(description="What it bills, as a part of the catalog's price.")
    checked_at: int | None = Field(description="When its upstream was asked last.")
    note: str = Field(description="What that brought.")
    listed_models: int | None = Field(description="How many models its upstream lists for it.")


class Pagination(Told):
    """Where a page stands."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_more: bool
    next: str | None = Field(description="Send it as `after` for the page that follows.")
    revision: int


class TokenPage(Told):
    """Accounts, by id."""

    tokens: list[Token]
    pagination: Pagination


class DuplicateTold(Told):
    """One that was there already."""

    index: int
    id: str
    name: str


class Added(Told):
    """What became of accounts to add."""

    status: str = "success"
    count: int
    skipped: int
    ids: list[str]
    duplicates: list[DuplicateTold]


class Replaced(Told):
    """What became of pools."""

    status: str = "success"
    count: int = Field(description="How many accounts were named.")
    added: int
    changed: int
    removed: int


class PoolReplaced(Replaced):
    """What became of a pool."""

    pool: PoolName


class Deleted(Told):
    """How many are gone."""

    status: str = "success"
    deleted: int
    missing: int = Field(default=0, description="How many of those named were not there.")


class Edited(Told):
    """An account after its change."""

    status: str = "success"
    id: str
    token: str
    pool: PoolName


class Disabled(Told):
    """An account after it was taken out of service, or put back."""

    status: str = "success"
    id: str
    token: str
    disabled: bool


class Summary(Told):
    """How many, how many well, how many not."""

    total: int
    ok: int
    fail: int


class DisabledBatch(Told):
    """Accounts after they were taken out of service, or put back."""

    status: str = "success"
    disabled: bool
    summary: Summary


class Revealed(Told):
    """A credential in clear text."""

    id: str
    token: str


class Tested(Told):
    """What a check of an account brought."""

    ok: bool
    error: str
    latency_ms: int
