"""Users, plans, prices, and the books: entries, balances, codes, top-ups, what is counted a day."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_OF_A_USER = sa.text("user_id <> ''")
_EMPTY = sa.text("''")
_ZERO = sa.text("0")
_USAGE = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")

_SQLITE_GUARDS = (
    (
        "CREATE TRIGGER entries_stay BEFORE UPDATE ON entries "
        "BEGIN SELECT RAISE(ABORT, 'entries are append only'); END"
    ),
    (
        "CREATE TRIGGER entries_remain BEFORE DELETE ON entries "
        "BEGIN SELECT RAISE(ABORT, 'entries are append only'); END"
    ),
)
_POSTGRES_GUARDS = (
    (
        "CREATE FUNCTION groxy_entries_stay() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'entries are append only'; END $$"
    ),
    (
        "CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE ON entries "
        "FOR EACH ROW EXECUTE FUNCTION groxy_entries_stay()"
    ),
)


def upgrade() -> None:
    """Add tables and columns; one guard keeps the entries as they were written."""
    _add_columns()
    _create_people()
    _create_books()
    _create_payments()
    _create_counts()
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_GUARDS if is_sqlite else _POSTGRES_GUARDS:
        op.execute(statement)


def _add_columns() -> None:
    """Add columns that a Groxy of before, which still runs beside this one, can leave alone."""
    for column in (
        sa.Column("user_id", sa.String(40), nullable=False, server_default=_EMPTY),
        sa.Column("terms", sa.Text, nullable=False, server_default=sa.text("'{}'"), comment="JSON"),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("disabled_ms", sa.BigInteger),
        sa.Column("previous", sa.LargeBinary(32), comment="the digest before a rotation"),
        sa.Column("previous_until_ms", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default=_ZERO),
    ):
        op.add_column("keys", column)
    op.create_index("keys_user_id", "keys", ["user_id", "created_ms", "id"])
    op.create_index("keys_revision", "keys", ["revision", "id"])
    for added in (
        sa.Column("user_id", sa.String(40), nullable=False, server_default=_EMPTY),
        sa.Column("charge_ticks", sa.BigInteger, nullable=False, server_default=_ZERO),
        sa.Column("held_ticks", sa.BigInteger, nullable=False, server_default=_ZERO),
        sa.Column("price_version", sa.String(40), nullable=False, server_default=_EMPTY),
        sa.Column("is_cut", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("request_sha256", sa.LargeBinary(32)),
        sa.Column("reply_sha256", sa.LargeBinary(32)),
    ):
        op.add_column("requests", added)
    by_list = sa.Column(
        "list_ticks",
        sa.BigInteger,
        nullable=False,
        server_default=_ZERO,
        comment="by the price list",
    )
    op.add_column("attempts", by_list)


def _create_people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("email", sa.String(254), unique=True, comment="in lower case"),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password", sa.Text, nullable=False, comment="argon2; empty: none can log in"),
        sa.Column("plan_id", sa.String(40), nullable=False, comment="empty: the default plan"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("terms", sa.Text, nullable=False, comment="JSON"),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("users_revision", "users", ["revision", "id"])
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_user_id", "sessions", ["user_id"])
    op.create_index("sessions_expires_ms", "sessions", ["expires_ms"])
    op.create_table(
        "plans",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("terms", sa.Text, nullable=False, comment="JSON"),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.String(40), primary_key=True, comment="in the order of time"),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("effective_ms", sa.BigInteger, nullable=False),
        sa.Column("rates", sa.Text, nullable=False, comment="JSON, ticks"),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        comment="Versions: none is ever changed, a new one takes its place from a moment on.",
    )
    op.create_index("prices_model", "prices", ["model", "effective_ms", "id"])


def _create_books() -> None:
    op.create_table(
        "entries",
        sa.Column(
            "id", sa.String(96), primary_key=True, comment="of its cause: nothing is entered twice"
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("debit", sa.String(80), nullable=False),
        sa.Column("credit", sa.String(80), nullable=False),
        sa.Column(
            "ticks",
            sa.BigInteger,
            sa.CheckConstraint("ticks > 0", name="entries_ticks"),
            nullable=False,
        ),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("request_id", sa.String(40), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        comment="Double entry: each line moves ticks from one side to the other. Append only.",
    )
    op.create_index(
        "entries_user",
        "entries",
        ["user_id", "at_ms", "id"],
        sqlite_where=_OF_A_USER,
        postgresql_where=_OF_A_USER,
    )
    op.create_table(
        "balances",
        sa.Column("name", sa.String(96), primary_key=True),
        sa.Column("ticks", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, comment="how often it was moved"),
        sa.Column(
            "revision", sa.BigInteger, nullable=False, comment="of the last move beside requests"
        ),
        sa.Column("until_ms", sa.BigInteger, comment="when nobody asks for it any more"),
        comment="What the entries add up to, moved in the transaction that enters them.",
    )
    op.create_index("balances_revision", "balances", ["revision", "name"])
    op.create_index("balances_until_ms", "balances", ["until_ms"])


def _create_payments() -> None:
    op.create_table(
        "codes",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("batch", sa.String(40), nullable=False),
        sa.Column("ticks", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.Column("redeemed_ms", sa.BigInteger),
        sa.Column("redeemed_by", sa.String(40), nullable=False),
    )
    op.create_index("codes_batch", "codes", ["batch", "id"])
    op.create_table(
        "topups",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column(
            "reference", sa.String(255), nullable=False, comment="what the provider calls it"
        ),
        sa.Column("currency", sa.String(8), nullable=False),
        sa.Column(
            "amount", sa.BigInteger, nullable=False, comment="in the currency's smallest unit"
        ),
        sa.Column("refunded", sa.BigInteger, nullable=False, comment="of that amount"),
        sa.Column("ticks", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("topups_reference", "topups", ["provider", "reference"], unique=True)
    op.create_index("topups_user_id", "topups", ["user_id", "created_ms", "id"])
    op.create_table(
        "payment_events",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def _create_counts() -> None:
    op.create_table(
        "usage_days",
        sa.Column(
            "day",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="such as 20261125, UTC",
        ),
        sa.Column("user_id", sa.String(40), primary_key=True),
        sa.Column("key_id", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("app", sa.String(128), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _USAGE),
        sa.Column("cost_ticks", sa.BigInteger, nullable=False),
        sa.Column("charge_ticks", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_days_key", "usage_days", ["key_id", "day"])
    op.create_index("usage_days_user", "usage_days", ["user_id", "day"])
    op.create_table(
        "model_hours",
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False, comment="unix hours"),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("measure", sa.String(8), primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
        comment="Histograms of attempts: how many fell into each bucket of a measure.",
    )


def downgrade() -> None:
    """Drop them, and with them all money in the books."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name in (
        "model_hours",
        "usage_days",
        "payment_events",
        "topups",
        "codes",
        "balances",
        "entries",
        "prices",
        "plans",
        "sessions",
        "users",
    ):
        op.drop_table(name)
    if not is_sqlite:
        op.execute("DROP FUNCTION groxy_entries_stay()")
    op.drop_index("keys_revision", "keys")
    op.drop_index("keys_user_id", "keys")
    for table, columns in (
        ("attempts", ("list_ticks",)),
        (
            "requests",
            (
                "reply_sha256",
                "request_sha256",
                "is_cut",
                "price_version",
                "held_ticks",
                "charge_ticks",
                "user_id",
            ),
        ),
        (
            "keys",
            (
                "revision",
                "previous_until_ms",
                "previous",
                "disabled_ms",
                "expires_ms",
                "terms",
                "user_id",
            ),
        ),
    ):
        for column in columns:
            op.drop_column(table, column)
