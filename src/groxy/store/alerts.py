"""Low balances: whose they are, and who was told of them.

In: the bound below which a balance is low. Out: users whose balance is, or was. That somebody was
told is kept in `kept`, so that nobody is told twice, whichever process leads.
"""

import time
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from groxy.core.grants import UserGrant
from groxy.store.database import BULK_TIMEOUT_S, Database
from groxy.store.kept import PENDING, Kept, KeptStore

_KIND = "alert"
_TOLD = "told"
_FOR_EVER_MS = 2**53 - 1

_grants = msgspec.json.Decoder(UserGrant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A user's balance that is low, or was when somebody was told."""

    user_id: str
    name: str
    ticks: int
    bound_ticks: int | None
    """Below which it is low; None where nobody wants to know."""
    is_told: bool
    begun_ms: int | None
    """Since when somebody is being told; None for nobody."""

    @property
    def is_low(self) -> bool:
        """True when it is below its bound."""
        return self.bound_ticks is not None and self.ticks < self.bound_ticks


class AlertBook:
    """Reads balances that may be low, and notes who was told."""

    def __init__(self, database: Database, kept: KeptStore) -> None:
        self._database = database
        self._kept = kept

    async def read(self, bound_ticks: int) -> list[Balance]:
        """Return who is low or was told; `bound_ticks` is for users without a bound, 0 is none."""
        async with self._database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
            rows = (await connection.execute(_BALANCES, {"bound": bound_ticks})).all()
        found = []
        for row in rows:
            own = _grants.decode(row.terms).alert_below if "alert_below" in row.terms else None
            balance = Balance(
                user_id=row.id,
                name=row.name,
                ticks=row.ticks,
                bound_ticks=own if own is not None else bound_ticks or None,
                is_told=row.state == _TOLD,
                begun_ms=row.created_ms,
            )
            if balance.is_low or balance.begun_ms is not None:
                found.append(balance)
        return found

    async def begin(self, user_id: str) -> None:
        """Note that somebody is being told; STORE_DOWN when another process does so."""
        now_ms = time.time_ns() // 1_000_000
        await self._kept.put(
            Kept(
                id=_name(user_id),
                kind=_KIND,
                owner="",
                parent=None,
                account_id="",
                state=PENDING,
                created_ms=now_ms,
                expires_ms=_FOR_EVER_MS,
                content=b"",
            )
        )

    async def end(self, user_id: str) -> None:
        """Note that somebody was told."""
        await self._kept.replace(_name(user_id), "", _TOLD, b"")

    async def forget(self, user_id: str) -> None:
        """Note that nobody knows: the balance rose, or telling failed for too long."""
        await self._kept.delete(_name(user_id), "", _KIND)


def _name(user_id: str) -> str:
    return f"{_KIND}:{user_id}"


# By primary keys alone: balances of keys, and what else is kept, are many times as many.
_BALANCES = sa.text(
    "SELECT u.id, u.name, u.terms, b.ticks, k.state, k.created_ms FROM users u "
    "JOIN balances b ON b.name = 'user:' || u.id "
    "LEFT JOIN kept k ON k.id = 'alert:' || u.id "
    "WHERE k.id IS NOT NULL OR b.ticks < :bound OR u.terms LIKE '%\"alert_below\"%'"
)
