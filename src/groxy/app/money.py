"""Money: the parts that price, hold and charge, built from settings and in step with the store.

In: settings, the catalog, the database. Out: the price book, the gate, and who lets requests pass.
What other processes enter in the books beside requests (grants, codes, payments, prices) is in
force here within a second.
"""

from dataclasses import dataclass

from groxy.ledger.prices import PriceBook
from groxy.ledger.trail import now_ms
from groxy.policy.admission import Admission
from groxy.routing.catalog import Catalog
from groxy.settings import Settings
from groxy.state.gate_memory import MemoryGate
from groxy.state.gates import Gate
from groxy.store.database import Database
from groxy.store.ledger import StoredBalances, balances_since
from groxy.store.prices import load_prices


@dataclass(kw_only=True)
class Money:
    """See the module."""

    prices: PriceBook
    admission: Admission
    gate: Gate
    database: Database
    _balances_at: int = 0

    async def load_prices(self) -> None:
        """Put every version of every price in force."""
        _, versions = await load_prices(self.database)
        self.prices.replace(versions)

    async def load_balances(self) -> None:
        """Take note of balances that were moved beside requests."""
        self._balances_at, moved = await balances_since(self.database, self._balances_at)
        if moved:
            await self.admission.learn(moved)

    async def leave(self) -> None:
        """Give back what this process holds, and let go of the gate."""
        try:
            await self.admission.end()
            await self.gate.leave()
        finally:
            await self.gate.close()


def money_of(settings: Settings, catalog: Catalog, database: Database, process: str) -> Money:
    """Return the parts of money; `process` is unique over all processes and starts of them."""
    gate = _gate_of(settings.state.url.reveal(), process)
    admission = Admission(gate, StoredBalances(database), now_ms=now_ms)
    prices = PriceBook(catalog.prices_of, catalog.price_names)
    return Money(prices=prices, admission=admission, gate=gate, database=database)


def _gate_of(url: str, process: str) -> Gate:
    if url.startswith("memory:"):
        return MemoryGate()
    # 7 MB that a gateway of one process does not need.
    from groxy.state._redis_server import RedisServer  # noqa: PLC0415
    from groxy.state.gate_redis import RedisGate  # noqa: PLC0415

    return RedisGate(RedisServer.connect(url), process)
