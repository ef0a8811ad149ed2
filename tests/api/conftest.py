"""An application in this process, for tests that ask it more than once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.inprocess import KEY, Answer, application, ask

OTHER_KEY = "sk-of-somebody-else"


class Asker:
    """Asks an application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def post(self, path: str, body: object, **more: Any) -> Answer:
        return await ask(self.app, "POST", path, body=body, **more)

    async def get(self, path: str, **more: Any) -> Answer:
        return await ask(self.app, "GET", path, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await ask(self.app, "DELETE", path, **more)


@pytest.fixture
async def asker(tmp_path) -> AsyncIterator[Asker]:
    """An application with two callers' keys, over the sandbox."""
    async with application(tmp_path, app__api_key=f"{KEY},{OTHER_KEY}") as app:
        yield Asker(app)
