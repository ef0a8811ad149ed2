"""Users with credits, for tests of a whole application."""

from dataclasses import dataclass
from typing import Any

from groxy.core.grants import ANY_KEY, KeyGrant
from groxy.store.keys import KeyRole, create_key
from groxy.store.ledger import Entry, balances_of, enter
from groxy.store.sessions import open_session
from groxy.store.users import create_user

USD = 10**10


@dataclass
class Person:
    """A user, their key and their session."""

    id: str
    key: str
    session: str


async def person(
    app: Any, name: str = "ada", grant: KeyGrant = ANY_KEY, plan_id: str = ""
) -> Person:
    """Make a user with a key and a session, all in force."""
    user = await create_user(app.database, name=name, plan_id=plan_id)
    key, _ = await create_key(
        app.database, app.secret, name=name, role=KeyRole.CALLER, user_id=user.id, grant=grant
    )
    session = await open_session(app.database, app.secret, user.id, ttl_ms=60_000)
    await app.load_changes()
    return Person(user.id, key, session)


async def give(app: Any, user_id: str, ticks: int, name: str, **changes: Any) -> None:
    """Give credits."""
    line = Entry(
        name, 1_790_000_000_000, "grant", "gifts", f"user:{user_id}", ticks, user_id, *[""] * 3
    )
    async with app.database.transaction() as connection:
        await enter(connection, [line._replace(**changes)])
    await app.load_changes()


async def balance_of(app: Any, user_id: str) -> int:
    """Return a balance in ticks."""
    name = f"user:{user_id}"
    return (await balances_of(app.database, [name]))[name][0]
