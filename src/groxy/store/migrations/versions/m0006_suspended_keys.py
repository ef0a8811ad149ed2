"""Keys that the operator took out of service: their owners cannot put them back."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add when that was. Keys that are disabled already stay their owners' to enable."""
    op.add_column("keys", sa.Column("suspended_ms", sa.BigInteger, comment="by the operator"))


def downgrade() -> None:
    """Drop it; a key that only the operator took out of service is disabled then."""
    op.execute(
        "UPDATE keys SET disabled_ms = suspended_ms "
        "WHERE disabled_ms IS NULL AND suspended_ms IS NOT NULL"
    )
    op.drop_column("keys", "suspended_ms")
