"""What tests of the books share: a writer, and a database of the kind in one file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from groxy.store.database import Database
from groxy.store.writers import EntryWriter
from tests.store.rows import open_writer

SQLITE = "sqlite+aiosqlite:///groxy.db"


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[EntryWriter]:
    """A writer for the test's database."""
    async with open_writer(database) as opened:
        yield opened


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """An open SQLite file."""
    opened = await Database.open(SQLITE, tmp_path)
    yield opened
    await opened.close()
