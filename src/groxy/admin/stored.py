"""The shelf of stored media as the operator sees it: pictures and films as files with names.

In: kinds, names such as `0f3a….jpg`. Out: how much there is, lists, what was deleted. A name is an
id and what its content type is usually called; only the id counts.
"""

from collections.abc import Sequence

from groxy.admin.cache import Kind, ShelfStats, StoredFile
from groxy.media.content import ending_of
from groxy.media.shelf import Shelf


class OperatorShelf:
    """Looks at the shelf and deletes from it. Raises STORE_DOWN as the shelf does."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def stats(self, kind: Kind) -> ShelfStats:
        """Return how much there is."""
        found = (await self._shelf.stats())[kind]
        return ShelfStats(
            count=found.count,
            size_bytes=found.size_bytes,
            limit_bytes=self._shelf.limits.max_total_bytes[kind],
        )

    async def files(self, kind: Kind, *, offset: int, limit: int) -> tuple[int, list[StoredFile]]:
        """Return how many files there are, and some of them, newest first."""
        total, some = await self._shelf.list(kind, offset=offset, limit=limit)
        files = [
            StoredFile(
                name=one.id + ending_of(one.content_type),
                size_bytes=one.size_bytes,
                modified_ms=one.created_ms,
            )
            for one in some
        ]
        return total, files

    async def clear(self, kind: Kind) -> int:
        """Delete all files of a kind; return how many they were."""
        return await self._shelf.clear(kind)

    async def delete(self, kind: Kind, names: Sequence[str]) -> list[str]:
        """Delete files, named with or without their ending; return the names that were there."""
        by_id = {name.partition(".")[0]: name for name in names}
        gone = await self._shelf.delete(list(by_id), kind)
        return [by_id[one.id] for one in gone]
