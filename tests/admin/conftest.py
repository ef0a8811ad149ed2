"""The desk of tests of the admin API."""

from collections.abc import AsyncIterator

import pytest

from tests.admin.office import Office, open_office


@pytest.fixture
async def office(tmp_path) -> AsyncIterator[Office]:
    """An open desk without accounts."""
    async with open_office(tmp_path) as opened:
        yield opened
