"""SQLite connections that let no cancellation through while SQLite works.

In: what to open. Out: a connection for SQLAlchemy. A call of SQLite takes milliseconds, and at most
the time that it waits for a lock; one that is cancelled goes on in its thread all the same. But
SQLAlchemy would drop the connection then, and with rows of a writing statement still to be
fetched, SQLite keeps a dropped connection, and its lock, until Python forgets the last of them. So
whoever is cancelled finishes the call, and is cancelled at the next thing that it waits for.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite

_ROWS_AT_ONCE = 64


class PatientConnection(aiosqlite.Connection):
    """See the module."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the driver has it
        loop = asyncio.get_running_loop()
        work = loop.create_task(super()._execute(fn, *args, **kwargs))  # type: ignore[no-untyped-call]  # the driver has no types here
        task = asyncio.current_task()
        cancellations = 0
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError:
                cancellations += 1
                if task is not None:
                    task.uncancel()
        for _ in range(cancellations):
            if task is not None:
                task.cancel()
        return work.result()


def patient_connection(database: str, **kwargs: Any) -> PatientConnection:
    """Return a connection that opens when it is awaited."""
    connection = PatientConnection(partial(sqlite3.connect, database, **kwargs), _ROWS_AT_ONCE)
    # A process must not wait for it when it ends.
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does it
    return connection
