"""Lines for the books, with every field set to something of its own."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from groxy.store.database import Database
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.store.writers import EntryWriter, entry_writer


def request_entry(request_id: str = "req_1", **changes: Any) -> RequestEntry:
    """Return the line of a request."""
    entry = RequestEntry(
        id=request_id,
        at_ms=1_752_854_522_001,
        key_id="key_1",
        dialect="chat",
        is_stream=True,
        model_asked="grok-4.3-fast",
        model_sent="grok-4.3",
        model_served="grok-4.3-0430",
        account_id="acc_1",
        outcome="ok",
        status=200,
        attempts=1,
        input_tokens=11,
        cached_tokens=7,
        output_tokens=13,
        reasoning_tokens=5,
        usage_estimated=False,
        cost_ticks=123_456_789_012,
        first_event_us=345_678,
        duration_us=4_567_890,
        reply_id="chatcmpl-1",
        app_title="My App",
        app_url="https://app.example/",
        finish_reason="stop",
        upstream_dialect="responses",
        route='{"candidates":[]}',
    )
    return entry._replace(**changes)


def attempt_entry(request_id: str = "req_1", number: int = 1, **changes: Any) -> AttemptEntry:
    """Return the line of an attempt."""
    entry = AttemptEntry(
        request_id=request_id,
        number=number,
        at_ms=1_752_854_522_002,
        upstream="xai",
        account_id="acc_1",
        model_sent="grok-4.3",
        model_served="grok-4.3-0430",
        outcome="ok",
        status=200,
        input_tokens=11,
        cached_tokens=7,
        output_tokens=13,
        reasoning_tokens=5,
        usage_estimated=True,
        cost_ticks=123_456_789_012,
        cost_source="upstream",
        first_event_us=345_000,
        duration_us=4_560_000,
    )
    return entry._replace(**changes)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a SQLite database, so that nobody else can write."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def rows_of(file: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query of ours, past all of Groxy's code, finds in a SQLite database."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


@asynccontextmanager
async def open_writer(database: Database) -> AsyncIterator[EntryWriter]:
    """A writer that is closed at the end."""
    writer = entry_writer(database)
    try:
        yield writer
    finally:
        await writer.close()
