"""An application with users in it, who log in and have keys."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from groxy.app import Application
from groxy.core.grants import KeyGrant
from groxy.policy.sessions import TTL_MS
from groxy.store.keys import KeyRole, StoredKey, create_key
from groxy.store.sessions import open_session
from groxy.store.users import User, create_user
from tests.inprocess import Answer, application, ask

PASSWORD = "correct horse battery"


class Household:
    """Users at an application; `ada` and `bob` are there from the beginning."""

    def __init__(self, app: Application, ada: User, bob: User) -> None:
        self.app = app
        self.ada = ada
        self.bob = bob

    async def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        **more: Any,
    ) -> Answer:
        given = dict(headers or {})
        return await ask(
            self.app, method, path, body=body, key=key, headers=given, query=query, **more
        )

    async def session(self, user: User) -> str:
        """Open a session without logging in."""
        return await open_session(self.app.database, self.app.secret, user.id, ttl_ms=TTL_MS)

    async def key(self, user_id: str, **grant: Any) -> tuple[str, StoredKey]:
        """Make a key, and put it in force."""
        made = await create_key(
            self.app.database,
            self.app.secret,
            name="a key",
            role=KeyRole.CALLER,
            user_id=user_id,
            grant=KeyGrant(**grant),
        )
        await self.app.loader.load_changes()
        return made

    async def login(self, email: str, password: str = PASSWORD, **more: Any) -> Answer:
        body = {"email": email, "password": password}
        return await self.ask("POST", "/v1/auth/login", body, **more)


@asynccontextmanager
async def household(folder: Path, **flags: object) -> AsyncIterator[Household]:
    """Run an application with two users."""
    async with application(folder, **flags) as app:
        ada = await create_user(
            app.database, name="Ada", email="ada@example.com", password=PASSWORD
        )
        bob = await create_user(app.database, name="Bob", email="bob@example.com")
        yield Household(app, ada, bob)


def cookie(token: str) -> dict[str, str]:
    """Return the header that a browser sends by itself."""
    return {"cookie": f"theme=dark; groxy_session={token}"}
