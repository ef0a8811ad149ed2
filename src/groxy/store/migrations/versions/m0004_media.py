"""Stored pictures, films and files, and jobs that take longer than a request."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("completed_ms IS NULL")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "media",
        sa.Column(
            "id", sa.String(32), primary_key=True, comment="also the object's name in the store"
        ),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False, comment="the id of a key"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("content_type", sa.String(128), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
    )
    columns = ["kind", "created_ms", "id", "size_bytes"]
    op.create_index("media_kind_created_ms", "media", columns)
    op.create_index("media_owner_created_ms", "media", ["owner", "kind", "created_ms", "id"])
    op.create_index("media_expires_ms", "media", ["expires_ms"])
    _create_jobs()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False, comment="the id of a key"),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("state", sa.Text, nullable=False, comment="JSON, plain"),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the request, AES-GCM"),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("upstream_id", sa.Text, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("media_id", sa.String(32), nullable=False),
        sa.Column("cost_ticks", sa.BigInteger),
        sa.Column("cost_source", sa.String(16), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("completed_ms", sa.BigInteger),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(40), nullable=False),
    )
    op.create_index("jobs_owner_created_ms", "jobs", ["owner", "kind", "created_ms", "id"])
    op.create_index("jobs_expires_ms", "jobs", ["expires_ms"])
    op.create_index(
        "jobs_open",
        "jobs",
        ["lease_until_ms", "created_ms"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )


def downgrade() -> None:
    """Drop them; what is in the media store stays there."""
    op.drop_table("jobs")
    op.drop_table("media")
