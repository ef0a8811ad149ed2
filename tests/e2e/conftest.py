"""What end-to-end tests share: a scripted upstream, and gateways that are gone afterwards."""

from collections.abc import Iterator

import pytest

from tests.e2e.scripted import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """An xAI-like server on loopback."""
    with Upstream() as server:
        yield server
