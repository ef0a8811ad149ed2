"""Every table, as the newest migration leaves it. Times are unix milliseconds, money is ticks."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

revisions = Table(
    "revisions",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="Grows when a table changes, so that every process notices within a second.",
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("user_id", String(40), nullable=False, server_default=text("''")),
    Column("terms", Text, nullable=False, server_default=text("'{}'"), comment="JSON"),
    Column("expires_ms", BigInteger),
    Column("disabled_ms", BigInteger),
    Column("suspended_ms", BigInteger, comment="by the operator"),
    Column("previous", LargeBinary(32), comment="the digest before a rotation"),
    Column("previous_until_ms", BigInteger),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    Index("keys_user_id", "user_id", "created_ms", "id"),
    Index("keys_revision", "revision", "id"),
)

users = Table(
    "users",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", String(254), unique=True, comment="in lower case"),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False, comment="argon2; empty: none can log in"),
    Column("plan_id", String(40), nullable=False, comment="empty: the default plan"),
    Column("status", String(16), nullable=False),
    Column("terms", Text, nullable=False, comment="JSON"),
    Column("created_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("users_revision", "revision", "id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user_id", String(40), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("sessions_user_id", "user_id"),
    Index("sessions_expires_ms", "expires_ms"),
)

plans = Table(
    "plans",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("terms", Text, nullable=False, comment="JSON"),
    Column("is_default", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

prices = Table(
    "prices",
    metadata,
    Column("id", String(40), primary_key=True, comment="in the order of time"),
    Column("model", String(128), nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("rates", Text, nullable=False, comment="JSON, ticks"),
    Column("note", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("prices_model", "model", "effective_ms", "id"),
    comment="Versions: none is ever changed, a new one takes its place from a moment on.",
)

entries = Table(
    "entries",
    metadata,
    Column("id", String(96), primary_key=True, comment="of its cause: nothing is entered twice"),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("debit", String(80), nullable=False),
    Column("credit", String(80), nullable=False),
    Column("ticks", BigInteger, CheckConstraint("ticks > 0", name="entries_ticks"), nullable=False),
    Column("user_id", String(40), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("request_id", String(40), nullable=False),
    Column("note", Text, nullable=False),
    Index(
        "entries_user",
        "user_id",
        "at_ms",
        "id",
        sqlite_where=text("user_id <> ''"),
        postgresql_where=text("user_id <> ''"),
    ),
    sqlite_with_rowid=False,
    comment="Double entry: each line moves ticks from one side to the other. Append only.",
)

balances = Table(
    "balances",
    metadata,
    Column("name", String(96), primary_key=True),
    Column("ticks", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="how often it was moved"),
    Column("revision", BigInteger, nullable=False, comment="of the last move beside requests"),
    Column("until_ms", BigInteger, comment="when nobody asks for it any more"),
    Index("balances_revision", "revision", "name"),
    Index("balances_until_ms", "until_ms"),
    comment="What the entries add up to, moved in the transaction that enters them.",
)

codes = Table(
    "codes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("batch", String(40), nullable=False),
    Column("ticks", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("redeemed_ms", BigInteger),
    Column("redeemed_by", String(40), nullable=False),
    Index("codes_batch", "batch", "id"),
)

topups = Table(
    "topups",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("user_id", String(40), nullable=False),
    Column("provider", String(16), nullable=False),
    Column("reference", String(255), nullable=False, comment="what the provider calls it"),
    Column("currency", String(8), nullable=False),
    Column("amount", BigInteger, nullable=False, comment="in the currency's smallest unit"),
    Column("refunded", BigInteger, nullable=False, comment="of that amount"),
    Column("ticks", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("topups_reference", "provider", "reference", unique=True),
    Index("topups_user_id", "user_id", "created_ms", "id"),
)

payment_events = Table(
    "payment_events",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("provider", String(16), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("upstream", String(64), nullable=False),
    Column("pool", String(16), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False, comment="credential and options, AES-GCM"),
    Column("created_ms", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), comment="of the credential and whose it is"),
    Column("terms", Text, nullable=False, server_default=text("'{}'")),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    Column("deleted_ms", BigInteger),
    Column("hint", String(40), nullable=False, server_default=text("''")),
    Index("accounts_digest", "digest", unique=True),
    Index("accounts_revision", "revision", "id"),
    # A name is free again as soon as its account was removed.
    Index(
        "accounts_live_name",
        "name",
        unique=True,
        sqlite_where=text("deleted_ms IS NULL"),
        postgresql_where=text("deleted_ms IS NULL"),
    ),
)

standings = Table(
    "standings",
    metadata,
    Column("account_id", String(64), primary_key=True, comment="also of accounts in settings"),
    Column("status", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
    Column("cleared_ms", BigInteger, nullable=False),
    Column("models", Text),
    Column("windows", Text, nullable=False),
    Column("checked_ms", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("standings_revision", "revision", "account_id"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("uses", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_ticks", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False),
    Column("last_failed_ms", BigInteger, nullable=False),
    Column("last_error", String(64), nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(40), primary_key=True, comment="in the order of time"),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("request_id", String(40), nullable=False),
)

overrides = Table(
    "overrides",
    metadata,
    Column("name", Text, primary_key=True, comment="dotted name of a setting"),
    Column("sealed", LargeBinary, nullable=False, comment="the value as JSON, AES-GCM"),
    Column("changed_ms", BigInteger, nullable=False),
)

_USAGE = (
    ("input_tokens", BigInteger),
    ("cached_tokens", BigInteger),
    ("output_tokens", BigInteger),
    ("reasoning_tokens", BigInteger),
)

_SAID = (
    ("reply_id", 128),
    ("app_title", 128),
    ("app_url", 256),
    ("finish_reason", 32),
    ("upstream_dialect", 16),
)

requests = Table(
    "requests",
    metadata,
    Column("id", String(40), primary_key=True, comment="in the order of time"),
    Column("at_ms", BigInteger, nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("dialect", String(16), nullable=False),
    Column("is_stream", Boolean, nullable=False),
    Column("model_asked", Text, nullable=False),
    Column("model_sent", Text, nullable=False),
    Column("model_served", Text, nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("outcome", String(40), nullable=False),
    Column("status", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    *(Column(name, kind, nullable=False) for name, kind in _USAGE),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_ticks", BigInteger, nullable=False),
    Column("first_event_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    *(
        Column(name, String(size), nullable=False, server_default=text("''"))
        for name, size in _SAID
    ),
    Column("route", Text, nullable=False, server_default=text("''"), comment="JSON"),
    Column("user_id", String(40), nullable=False, server_default=text("''")),
    Column("charge_ticks", BigInteger, nullable=False, server_default=text("0")),
    Column("held_ticks", BigInteger, nullable=False, server_default=text("0")),
    Column("price_version", String(40), nullable=False, server_default=text("''")),
    Column("is_cut", Boolean, nullable=False, server_default=false()),
    Column("request_sha256", LargeBinary(32)),
    Column("reply_sha256", LargeBinary(32)),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("request_id", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("upstream", String(64), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("model_sent", Text, nullable=False),
    Column("model_served", Text, nullable=False),
    Column("outcome", String(40), nullable=False),
    Column("status", Integer, nullable=False),
    *(Column(name, kind, nullable=False) for name, kind in _USAGE),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_ticks", BigInteger, nullable=False),
    Column("cost_source", String(16), nullable=False),
    Column("first_event_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column(
        "list_ticks",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="by the price list",
    ),
    sqlite_with_rowid=False,
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, comment="such as 20261125, UTC"),
    Column("user_id", String(40), primary_key=True),
    Column("key_id", String(40), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("app", String(128), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    *(Column(name, kind, nullable=False) for name, kind in _USAGE),
    Column("cost_ticks", BigInteger, nullable=False),
    Column("charge_ticks", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Index("usage_days_key", "key_id", "day"),
    Index("usage_days_user", "user_id", "day"),
    sqlite_with_rowid=False,
)

model_hours = Table(
    "model_hours",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="unix hours"),
    Column("model", String(256), primary_key=True),
    Column("measure", String(8), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("attempts", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    comment="Histograms of attempts: how many fell into each bucket of a measure.",
)

kept = Table(
    "kept",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("owner", String(40), nullable=False, comment="the id of a key"),
    Column("parent", String(64)),
    Column("account_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("lease_ms", BigInteger),
    Column("sealed", LargeBinary, nullable=False, comment="the content, AES-GCM"),
    Index("kept_expires_ms", "expires_ms"),
)

media = Table(
    "media",
    metadata,
    Column("id", String(32), primary_key=True, comment="also the object's name in the store"),
    Column("kind", String(8), nullable=False),
    Column("owner", String(40), nullable=False, comment="the id of a key"),
    Column("name", String(255), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("content_type", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("etag", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    # With the size in it, sums and the oldest are read from the index alone.
    Index("media_kind_created_ms", "kind", "created_ms", "id", "size_bytes"),
    Index("media_owner_created_ms", "owner", "kind", "created_ms", "id"),
    Index("media_expires_ms", "expires_ms"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("owner", String(40), nullable=False, comment="the id of a key"),
    Column("status", String(16), nullable=False),
    Column("state", Text, nullable=False, comment="JSON, plain"),
    Column("sealed", LargeBinary, nullable=False, comment="the request, AES-GCM"),
    Column("account_id", String(64), nullable=False),
    Column("upstream_id", Text, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("media_id", String(32), nullable=False),
    Column("cost_ticks", BigInteger),
    Column("cost_source", String(16), nullable=False),
    Column("error", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("completed_ms", BigInteger),
    Column("lease_owner", String(64), nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("request_id", String(40), nullable=False),
    Index("jobs_owner_created_ms", "owner", "kind", "created_ms", "id"),
    Index("jobs_expires_ms", "expires_ms"),
    # Of many jobs few are under way, and only these are looked for several times a second.
    Index(
        "jobs_open",
        "lease_until_ms",
        "created_ms",
        sqlite_where=text("completed_ms IS NULL"),
        postgresql_where=text("completed_ms IS NULL"),
    ),
)
