"""People with money at a gateway, whether it runs or not: made in its database."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any

from groxy.core.grants import KeyGrant
from groxy.core.ids import new_id
from groxy.core.money import TICKS_PER_USD
from groxy.settings.sections import DEFAULT_STORE_URL
from groxy.store.database import Database
from groxy.store.entries import RequestEntry, request_of
from groxy.store.keys import KeyRole, create_key
from groxy.store.ledger import Entry, Kind, balances_of, enter, user_side
from groxy.store.secrets import InstallationSecret
from groxy.store.users import create_user
from groxy.store.verification import Verified, verify
from tests.e2e.running import Gateway


class Bank:
    """The store of a gateway."""

    def __init__(
        self, gateway: Gateway, url: str = DEFAULT_STORE_URL, secret: bytes | None = None
    ) -> None:
        self._gateway = gateway
        self._url = url
        self._secret = secret

    def user(self, usd: int, *, ticks: int = 0, **grant: Any) -> tuple[str, str]:
        """Make a user with so much money and a key; return the user's id and the key."""

        async def make(database: Database) -> tuple[str, str]:
            secret = InstallationSecret.of(self._gateway.data_dir, self._secret)
            user = await create_user(database, name="somebody")
            key, _ = await create_key(
                database,
                secret,
                name="key",
                role=KeyRole.CALLER,
                user_id=user.id,
                grant=KeyGrant(**grant),
            )
            await _grant(database, user.id, usd * TICKS_PER_USD + ticks)
            return user.id, key

        made: tuple[str, str] = self.run(make)
        return made

    def grant(self, user_id: str, ticks: int) -> None:
        """Give a user more, or less."""
        self.run(lambda database: _grant(database, user_id, ticks))

    def balance(self, user_id: str) -> int:
        """Return what a user has, in ticks."""
        name = user_side(user_id)
        found: dict[str, tuple[int, int]] = self.run(lambda database: balances_of(database, [name]))
        return found[name][0]

    def entry(self, request_id: str) -> RequestEntry:
        """Return the row of a request."""
        found = self.run(lambda database: request_of(database, request_id))
        assert found is not None
        row: RequestEntry = found[0]
        return row

    def verified(self) -> Verified:
        """Return whether the books add up."""
        found: Verified = self.run(verify)
        return found

    def run(self, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        """Run work on the database, on a loop of its own."""

        async def run() -> Any:
            database = await Database.open(self._url, self._gateway.data_dir)
            try:
                return await work(database)
            finally:
                await database.close()

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            return threads.submit(asyncio.run, run()).result(60)


async def _grant(database: Database, user_id: str, ticks: int) -> None:
    if not ticks:
        return
    entry = Entry(
        new_id("grant:"),
        1,
        Kind.GRANT.value,
        "gifts" if ticks > 0 else user_side(user_id),
        user_side(user_id) if ticks > 0 else "gifts",
        abs(ticks),
        user_id,
        "",
        "",
        "for a test",
    )
    async with database.transaction() as connection:
        await enter(connection, [entry])
