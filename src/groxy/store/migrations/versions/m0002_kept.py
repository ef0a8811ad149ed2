"""Things kept for callers, and what else the books say about a request."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SAID = (
    ("reply_id", 128),
    ("app_title", 128),
    ("app_url", 256),
    ("finish_reason", 32),
    ("upstream_dialect", 16),
)
"""New columns of requests and their lengths; lines of before, and of an older Groxy that still
runs beside this one, have them empty."""


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "kept",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False, comment="the id of a key"),
        sa.Column("parent", sa.String(64)),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_ms", sa.BigInteger),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the content, AES-GCM"),
    )
    op.create_index("kept_expires_ms", "kept", ["expires_ms"])
    for name, length in _SAID:
        column = sa.Column(name, sa.String(length), nullable=False, server_default=sa.text("''"))
        op.add_column("requests", column)


def downgrade() -> None:
    """Drop them."""
    for name, _ in reversed(_SAID):
        op.drop_column("requests", name)
    op.drop_index("kept_expires_ms", "kept")
    op.drop_table("kept")
