"""What tests of several folders share: private servers, and a database of each kind."""

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest
import structlog

from groxy.observe import logs
from groxy.store.database import Database
from tests.servers import PostgresServer, RedisServer, postgres_server, redis_server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis of our own; whoever stops it starts it again."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own; whoever stops it starts it again."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log as `groxy serve` does; called, it returns the lines that were logged."""
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written)
    with redirect_stderr(stderr):
        logs.configure(level="info", form="json")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.reset_defaults()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; SQLite's is relative to the data folder."""
    if request.param == "sqlite":
        return "sqlite+aiosqlite:///groxy.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.empty_database()


@pytest.fixture
async def database(store_url, tmp_path) -> AsyncIterator[Database]:
    """An open database of each kind, with nothing in it."""
    opened = await Database.open(store_url, tmp_path)
    yield opened
    await opened.close()
