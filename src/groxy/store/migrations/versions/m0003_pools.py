"""How accounts stand and what they did, the operator's acts and settings, and why a route was."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_LIVE = sa.text("deleted_ms IS NULL")
_COUNTS = ("uses", "failures", "tokens", "cost_ticks", "last_used_ms", "last_failed_ms")


def upgrade() -> None:
    """Add tables and columns; names of accounts become unique among those not removed."""
    _add_account_columns()
    _drop_unique_names()
    op.create_index("accounts_digest", "accounts", ["digest"], unique=True)
    op.create_index("accounts_revision", "accounts", ["revision", "id"])
    op.create_index(
        "accounts_live_name",
        "accounts",
        ["name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    _create_standings()
    op.create_table(
        "audit",
        sa.Column("id", sa.String(40), primary_key=True, comment="in the order of time"),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("request_id", sa.String(40), nullable=False),
    )
    op.create_table(
        "overrides",
        sa.Column("name", sa.Text, primary_key=True, comment="dotted name of a setting"),
        sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the value as JSON, AES-GCM"),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )
    route = sa.Column(
        "route", sa.Text, nullable=False, server_default=sa.text("''"), comment="JSON"
    )
    op.add_column("requests", route)


def _add_account_columns() -> None:
    """Add columns that a Groxy of before, which still runs beside this one, can leave alone."""
    op.add_column(
        "accounts",
        sa.Column("digest", sa.LargeBinary(32), comment="of the credential and whose it is"),
    )
    for name, kind, default in (
        ("terms", sa.Text(), "'{}'"),
        ("revision", sa.BigInteger(), "0"),
        ("hint", sa.String(40), "''"),
    ):
        column = sa.Column(name, kind, nullable=False, server_default=sa.text(default))
        op.add_column("accounts", column)
    op.add_column("accounts", sa.Column("deleted_ms", sa.BigInteger))
    op.execute("UPDATE accounts SET revision = 1")


def _drop_unique_names() -> None:
    """Drop the constraint under the name that it has; SQLite's has none, unless it came back."""
    (found,) = sa.inspect(op.get_bind()).get_unique_constraints("accounts")
    convention = {"uq": "uq_%(table_name)s_%(column_0_name)s"}
    with op.batch_alter_table("accounts", naming_convention=convention) as batch:
        batch.drop_constraint(found["name"] or "uq_accounts_name", type_="unique")


def _create_standings() -> None:
    op.create_table(
        "standings",
        sa.Column(
            "account_id", sa.String(64), primary_key=True, comment="also of accounts in settings"
        ),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger),
        sa.Column("cleared_ms", sa.BigInteger, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("windows", sa.Text, nullable=False),
        sa.Column("checked_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("standings_revision", "standings", ["revision", "account_id"])
    op.create_table(
        "tallies",
        sa.Column("account_id", sa.String(64), primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS),
        sa.Column("last_error", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Drop them; accounts that were removed are gone for good."""
    op.drop_column("requests", "route")
    for name in ("overrides", "audit", "tallies", "standings"):
        op.drop_table(name)
    op.execute("DELETE FROM accounts WHERE deleted_ms IS NOT NULL")
    for name in ("accounts_live_name", "accounts_revision", "accounts_digest"):
        op.drop_index(name, "accounts")
    with op.batch_alter_table("accounts") as batch:
        for name in ("deleted_ms", "hint", "revision", "terms", "digest"):
            batch.drop_column(name)
        batch.create_unique_constraint("accounts_name_key", ["name"])
