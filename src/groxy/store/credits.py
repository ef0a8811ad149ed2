"""Credits that operators give and take: one line of money, once, with who did it.

In: a line, and the audit's entry. Out: the balances that it moved. What is in the books already is
refused, so that a repeated request gives nothing twice.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.audit import AuditEntry, write_audit
from groxy.store.database import Database, lock
from groxy.store.ledger import BALANCES, Entry, enter
from groxy.store.users import no_such_user

_entries = tables.entries.c
_users = tables.users.c


async def give_credits(
    database: Database, entry: Entry, audit: Sequence[AuditEntry] = ()
) -> dict[str, tuple[int, int]]:
    """Enter a line that gives credits to a user or takes some, and note who did it, or neither.

    Returns ticks and seq of the balance. Raises NOT_FOUND (`user_not_found`), and CONFLICT
    (`already_entered`) when the line is in the books.
    """
    async with database.transaction() as connection:
        # First of all: whoever enters lines beside requests comes after this.
        await lock(connection, BALANCES)
        await require_user(connection, entry.user_id)
        if await connection.scalar(sa.select(_entries.id).where(_entries.id == entry.id)):
            message = "This was entered in the books before. Nothing was changed."
            raise GroxyError(ErrorKind.CONFLICT, message, code="already_entered")
        moved = await enter(connection, [entry])
        await write_audit(connection, audit)
    return moved


async def require_user(connection: AsyncConnection, user_id: str) -> None:
    """Raise NOT_FOUND (`user_not_found`) for a user that is not there."""
    query = sa.select(_users.id).where(_users.id == user_id)
    # PostgreSQL takes no NUL.
    if not user_id.isprintable() or await connection.scalar(query) is None:
        raise no_such_user(user_id)
