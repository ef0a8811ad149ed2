"""Verification: whether the books are right, told from nothing but what is in them.

In: the database, also while requests are served: all is read as of one moment. Out: what does not
add up, each with an example. Must not change anything.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.store.database import Database
from groxy.store.ledger import Kind

_TIMEOUT_S = 3600.0
_EXAMPLES = 5
_BEGIN_SQLITE = "BEGIN"
"""Its driver begins no transaction for those who only read."""
_BEGIN_POSTGRES = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not add up."""

    rule: str
    """The sentence that should hold."""
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification came to."""

    entries: int
    requests: int
    balances: int
    findings: tuple[Finding, ...]


# Each query returns what breaks its rule: what is wrong, as text, one row each.
_RULES: tuple[tuple[str, str], ...] = (
    (
        "every user's balance is the sum of its entries",
        """
        SELECT name || ': balance ' || balance || ', entries ' || entered FROM (
            SELECT name, SUM(balance) AS balance, SUM(entered) AS entered FROM (
                SELECT name, ticks AS balance, 0 AS entered FROM balances WHERE name LIKE 'user:%'
                UNION ALL
                SELECT credit, 0, ticks FROM entries WHERE credit LIKE 'user:%'
                UNION ALL
                SELECT debit, 0, -ticks FROM entries WHERE debit LIKE 'user:%'
            ) AS sides GROUP BY name
        ) AS sums WHERE balance <> entered
        """,
    ),
    (
        "every charge of a request is in the ledger, once and in full",
        """
        SELECT r.id || ': charged ' || r.charge_ticks || ', entered ' || COALESCE(e.ticks, 0)
        FROM requests r LEFT JOIN entries e ON e.id = r.id || '.0'
        WHERE r.charge_ticks > 0 AND (
            e.id IS NULL OR e.ticks <> r.charge_ticks OR e.kind <> 'charge'
            OR e.key_id <> r.key_id OR e.user_id <> r.user_id
        )
        """,
    ),
    (
        "every charge in the ledger belongs to a request that says the same",
        """
        SELECT e.id || ': ' || e.ticks
        FROM entries e LEFT JOIN requests r ON r.id = e.request_id
        WHERE e.kind = 'charge' AND e.request_id >= COALESCE((SELECT MIN(id) FROM requests), '~')
        AND (r.id IS NULL OR r.charge_ticks <> e.ticks)
        """,
    ),
    (
        "every cost of an attempt is in the ledger, once and in full",
        """
        SELECT a.request_id || '.' || a.number || ': cost ' || a.cost_ticks
            || ', entered ' || COALESCE(e.ticks, 0)
        FROM attempts a LEFT JOIN entries e ON e.id = a.request_id || '.' || a.number
        WHERE a.cost_ticks > 0 AND a.request_id >= :since
        AND (e.id IS NULL OR e.ticks <> a.cost_ticks OR e.kind <> 'cost')
        """,
    ),
    (
        "every cost in the ledger belongs to an attempt",
        """
        SELECT e.id || ': ' || e.ticks
        FROM entries e
        LEFT JOIN attempts a
            ON a.request_id = e.request_id AND e.id = a.request_id || '.' || a.number
        WHERE e.kind = 'cost'
        AND e.request_id >= COALESCE((SELECT MIN(request_id) FROM attempts), '~')
        AND (a.request_id IS NULL OR a.cost_ticks <> e.ticks)
        """,
    ),
    (
        "no request was charged more than was held for it",
        """
        SELECT id || ': charged ' || charge_ticks || ', held ' || held_ticks
        FROM requests WHERE charge_ticks > held_ticks
        """,
    ),
    (
        "what is set aside belongs to a job that is under way",
        """
        SELECT h.id || ': ' || h.ticks
        FROM entries h LEFT JOIN entries r ON r.id = h.request_id || '.release'
        WHERE h.kind = 'hold' AND r.id IS NULL AND NOT EXISTS (
            SELECT 1 FROM jobs WHERE jobs.request_id = h.request_id AND completed_ms IS NULL
        )
        """,
    ),
    (
        "what was given back had been set aside",
        """
        SELECT r.id || ': ' || r.ticks
        FROM entries r LEFT JOIN entries h ON h.id = r.request_id || '.hold'
        WHERE r.kind = 'release' AND (h.id IS NULL OR h.ticks <> r.ticks OR h.debit <> r.credit)
        """,
    ),
    (
        "every entry moves a positive amount from one side to another, and is of a known kind",
        """
        SELECT id || ': ' || kind || ' ' || ticks FROM entries
        WHERE ticks <= 0 OR debit = credit OR debit = '' OR credit = '' OR kind NOT IN :kinds
        """,
    ),
    (
        "whoever's balance an entry moves is named in it",
        """
        SELECT id || ': ' || debit || ' to ' || credit || ' of ' || user_id FROM entries
        WHERE (debit LIKE 'user:%' AND debit <> 'user:' || user_id)
        OR (credit LIKE 'user:%' AND credit <> 'user:' || user_id)
        """,
    ),
)


async def verify(database: Database) -> Verified:
    """Return whether the books add up. A million entries take some seconds."""
    findings: list[Finding] = []
    async with database.transaction(timeout_s=_TIMEOUT_S) as connection:
        begin = _BEGIN_SQLITE if database.is_sqlite else _BEGIN_POSTGRES
        await connection.exec_driver_sql(begin)
        since = await _first_with_ledger(connection)
        for rule, query in _RULES:
            found = await _broken(connection, query, since)
            if found:
                findings.append(
                    Finding(rule=rule, count=len(found), examples=tuple(found[:_EXAMPLES]))
                )
        counts = [
            await connection.scalar(sa.text(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608 - our own
            for table in ("entries", "requests", "balances")
        ]
    entries, requests, balances = (int(count or 0) for count in counts)
    return Verified(entries=entries, requests=requests, balances=balances, findings=tuple(findings))


async def _broken(connection: AsyncConnection, query: str, since: str) -> list[str]:
    statement, values = sa.text(query), {}
    if ":kinds" in query:
        statement = statement.bindparams(sa.bindparam("kinds", expanding=True))
        values["kinds"] = [kind.value for kind in Kind]
    if ":since" in query:
        values["since"] = since  # type: ignore[assignment]
    return [str(row[0]) for row in await connection.execute(statement, values)]


async def _first_with_ledger(connection: AsyncConnection) -> str:
    """Return the first request that an entry is of: a Groxy of before wrote none."""
    first: Any = await connection.scalar(
        sa.text("SELECT MIN(request_id) FROM entries WHERE request_id <> ''")
    )
    return first or "~"
