"""The files that a key of the sandbox has: a few made-up ones, and those that it has deleted.

In: a key and what is asked of its files. Out: replies in xAI's shape (its OpenAPI document,
2026-08). The same key has the same files on each start, until it deletes them; that is remembered
in memory, and bounded. Nothing is kept in them.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.brain import CREATED

_A_PAGE = 100
_MAX_KEYS = 10_000
_NAMES = ("notes.txt", "report.pdf", "table.csv")


class Shelf:
    """Knows which files were deleted; the oldest key's deletions are forgotten first."""

    def __init__(self, size: int = _MAX_KEYS) -> None:
        self._size = size
        self._deleted: OrderedDict[bytes, set[str]] = OrderedDict()

    def page(self, key: str, count: int, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of a key's files, `count` in all before any was deleted.

        `query` may have `limit`, 1 to 100, and xAI's `pagination_token` or OpenAI's `after`.
        """
        limit = query.get("limit", str(_A_PAGE))
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= _A_PAGE:
            message = f"`limit` must be 1 to {_A_PAGE}."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="limit")
        files = self._left(key, count)
        behind = query.get("pagination_token") or query.get("after", "")
        ids = [file["id"] for file in files]
        start = ids.index(behind) + 1 if behind in ids else 0
        shown = files[start : start + int(limit)]
        last = shown[-1]["id"] if shown else ""
        # xAI always gives a token; `has_more` and `last_id` are OpenAI's, for its clients.
        return {
            "object": "list",
            "data": shown,
            "pagination_token": last or behind,
            "has_more": start + len(shown) < len(files),
            "last_id": last or None,
        }

    def file(self, key: str, count: int, file_id: str) -> dict[str, Any]:
        """Return one file; raise NOT_FOUND."""
        for file in self._left(key, count):
            if file["id"] == file_id:
                return file
        raise GroxyError(ErrorKind.NOT_FOUND, "The file does not exist.", param="file_id")

    def delete(self, key: str, count: int, file_id: str) -> dict[str, Any]:
        """Delete one file; raise NOT_FOUND, also the second time."""
        self.file(key, count, file_id)
        digest = _digest(key)
        self._deleted.setdefault(digest, set()).add(file_id)
        self._deleted.move_to_end(digest)
        if len(self._deleted) > self._size:
            self._deleted.popitem(last=False)
        return {"id": file_id, "object": "file", "deleted": True}

    def clear(self) -> None:
        """Bring all deleted files back."""
        self._deleted.clear()

    def _left(self, key: str, count: int) -> list[dict[str, Any]]:
        digest = _digest(key)
        deleted = self._deleted.get(digest, set())
        made = (_file(digest, number) for number in range(count))
        return [file for file in made if file["id"] not in deleted]


def _digest(key: str) -> bytes:
    return blake2b(key.encode(errors="replace"), digest_size=6).digest()


def _file(digest: bytes, number: int) -> dict[str, Any]:
    return {
        "id": f"file_{digest.hex()}{number:04d}",
        "object": "file",
        "bytes": 1000 + number,
        "created_at": CREATED - number,
        "expires_at": None,
        "filename": f"{number:04d}-{_NAMES[number % len(_NAMES)]}",
        "purpose": "",
    }
