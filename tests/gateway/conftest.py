"""What tests of films share: a film set over the test's database."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from groxy.store.database import Database
from tests.gateway.film_set import FilmSeat, FilmSet, film_set

Stand = Callable[..., Coroutine[Any, Any, FilmSet]]


@pytest.fixture
async def stand(database: Database, tmp_path: Path) -> AsyncIterator[Stand]:
    """Makes film sets: each is a process of its own over the same database and folder."""
    async with AsyncExitStack() as open_sets:

        async def make(*seats: FilmSeat, **more: Any) -> FilmSet:
            return await open_sets.enter_async_context(film_set(database, tmp_path, *seats, **more))

        yield make
