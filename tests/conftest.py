"""What tests of several folders share: private servers, and a database of each kind."""

import functools
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import settings

from groxy.observe import logs
from groxy.store import database as databases, passwords
from groxy.store.database import Database
from tests.servers import PostgresServer, RedisServer, postgres_server, redis_server

_REAL_HASHING = (passwords._PASSES, passwords._MEMORY_KIB)
# How long an example takes says how busy the machine is. What must not be slow has tests for it.
settings.register_profile("patient", parent=settings(), deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _one_migration() -> Iterator[None]:
    """Give every empty SQLite database the schema that the migrations made of the first.

    Thousands of tests begin with an empty one, and migrations take longer than most of them.
    """
    migrate = databases._upgrade

    @functools.cache
    def script() -> list[str]:
        with closing(sqlite3.connect(":memory:")) as memory:
            engine = sa.create_engine("sqlite://", creator=lambda: memory)
            with engine.begin() as connection:
                migrate(connection)
            return list(memory.iterdump())[1:-1]

    @functools.wraps(migrate)
    def upgrade(connection: sa.Connection) -> None:
        if connection.dialect.name != "sqlite" or sa.inspect(connection).get_table_names():
            migrate(connection)
            return
        for statement in script():
            connection.exec_driver_sql(statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases, "_upgrade", upgrade)
        yield


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every database be migrated step by step, as outside of tests."""
    monkeypatch.setattr(databases, "_upgrade", databases._upgrade.__wrapped__)  # type: ignore[attr-defined]


@contextmanager
def _hashing_with(passes: int, memory_kib: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_PASSES", passes)
        patch.setattr(passwords, "_MEMORY_KIB", memory_kib)
        passwords._hasher.cache_clear()
        passwords._decoy.cache_clear()
        yield
    passwords._hasher.cache_clear()
    passwords._decoy.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Hash passwords in no time: every hash takes a twentieth of a second on purpose."""
    with _hashing_with(passes=1, memory_kib=64):
        yield


@pytest.fixture
def slow_passwords(_quick_passwords: None) -> Iterator[None]:
    """Hash passwords as thoroughly as outside of tests."""
    with _hashing_with(*_REAL_HASHING):
        yield


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

    def lines() -> list[dict[str, Any]]:
        logs.flush()
        return [json.loads(line) for line in written.getvalue().splitlines()]

    yield lines
    structlog.reset_defaults()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; SQLite's is relative to the data folder."""
    if request.param == "sqlite":
        return "sqlite+aiosqlite:///groxy.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return (
        server.bare_database() if "migrations" in request.fixturenames else server.empty_database()
    )


@pytest.fixture
async def database(store_url, tmp_path) -> AsyncIterator[Database]:
    """An open database of each kind, with nothing in it."""
    opened = await Database.open(store_url, tmp_path)
    yield opened
    await opened.close()
