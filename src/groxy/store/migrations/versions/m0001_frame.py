"""Keys, accounts, and the books of requests and attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _outcome_columns() -> list[sa.Column[object]]:
    """Columns that requests and attempts share."""
    return [
        sa.Column("outcome", sa.String(40), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("usage_estimated", sa.Boolean, nullable=False),
        sa.Column("cost_ticks", sa.BigInteger, nullable=False),
        sa.Column("first_event_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
    ]


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "revisions",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        comment="Grows when a table changes, so that every process notices within a second.",
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("upstream", sa.String(64), nullable=False),
        sa.Column("pool", sa.String(16), nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column(
            "sealed", sa.LargeBinary, nullable=False, comment="credential and options, AES-GCM"
        ),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(40), primary_key=True, comment="in the order of time"),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("dialect", sa.String(16), nullable=False),
        sa.Column("is_stream", sa.Boolean, nullable=False),
        sa.Column("model_asked", sa.Text, nullable=False),
        sa.Column("model_sent", sa.Text, nullable=False),
        sa.Column("model_served", sa.Text, nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        *_outcome_columns(),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempts",
        sa.Column("request_id", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("upstream", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("model_sent", sa.Text, nullable=False),
        sa.Column("model_served", sa.Text, nullable=False),
        sa.Column("cost_source", sa.String(16), nullable=False),
        *_outcome_columns(),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them all."""
    for name in ("attempts", "requests", "accounts", "keys", "revisions"):
        op.drop_table(name)
