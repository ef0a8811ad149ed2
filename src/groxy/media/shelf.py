"""The shelf: stored pictures, films and callers' files, as bytes in the object store and an index.

In: bytes, whole or as they come, with what they are. Out: what was stored, its bytes again, and how
much there is. Bytes are written before the index and deleted after it, so whoever finds something
finds all of it; what a crash leaves between the two, `reconcile` clears away. Beyond the bound of a
kind the oldest of it go first. Knows no request and no URL.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.objects import AbsentError, Listed, Objects
from groxy.observe import logs
from groxy.store.database import Database
from groxy.store.media import (
    Kind,
    Stored,
    Sum,
    Wanted,
    add_media,
    delete_media,
    expired_media,
    files_of,
    find_media,
    known_media,
    media_after,
    oldest_beyond,
    page_of_media,
    sums_of_media,
)

FILE_PREFIX = "file-"
"""What ids of files begin with, where callers see them."""
_ID = re.compile(r"[0-9a-f]{32}")
_OBJECT = re.compile(r"(image|video|file)/([0-9a-f]{32})")
_UNSETTLED_S = 3600.0
"""What is younger may be on its way in another process, and is left alone."""
_KEPT_SHARE = 0.9
"""How much of its bound a kind keeps when the oldest of it go."""
_BATCH = 500
_LARGE_BYTES = 1024 * 1024
_DAY_MS = 86_400_000

_log = logs.get_logger("media")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfLimits:
    """How much is kept, and for how long. Settings say it, section `media`."""

    max_total_bytes: dict[Kind, int]
    """Of all there is of a kind; 0 is no bound."""
    max_bytes: dict[Kind, int]
    """Of one."""
    keep_days: int = 0
    """Of pictures and films; 0 is for ever."""


class Shelf:
    """Stores and finds. Raises STORE_DOWN when database or object store fail.

    `limits` may be changed at any time.
    """

    def __init__(
        self, store_url: str, data_dir: Path, database: Database, limits: ShelfLimits
    ) -> None:
        self.limits = limits
        self._objects = Objects(store_url, data_dir)
        self._database = database
        self._making_room = asyncio.Lock()

    async def put(  # noqa: PLR0913 - what there is to say of a file
        self,
        kind: Kind,
        data: bytes | AsyncIterable[bytes],
        *,
        content_type: str,
        owner: str,
        name: str = "",
        purpose: str = "",
        expires_ms: int | None = None,
    ) -> Stored:
        """Store something; it is all there and findable when this returns.

        The content has been checked. Raises TOO_LARGE beyond the bound of one, and what reading
        `data` raises; then nothing is stored.
        """
        found = _Measured(data, kind, self.limits.max_bytes[kind])
        stored_id = secrets.token_hex(16)
        await self._objects.put(f"{kind}/{stored_id}", await found.content())
        stored = Stored(
            id=stored_id,
            kind=kind,
            owner=owner,
            name=name,
            purpose=purpose,
            content_type=content_type,
            size_bytes=found.size_bytes,
            etag=found.etag,
            created_ms=_now_ms(),
            expires_ms=expires_ms,
        )
        # If this fails, the bytes that nobody can find are cleared away later.
        await add_media(self._database, stored)
        try:
            await self._make_room(stored)
        except GroxyError as error:
            # What was stored is stored; there is room to make at the next one too.
            _log.warning("no room was made for media", detail=error.detail or error.message)
        return stored

    async def find(self, id: str, kind: Kind | None = None) -> Stored | None:  # noqa: A002 - its name
        """Return what has this id, unless it is of another kind or has expired."""
        if not _ID.fullmatch(id):
            return None
        stored = await find_media(self._database, id)
        if stored is None or (kind is not None and stored.kind != kind) or self._is_over(stored):
            return None
        return stored

    async def file(self, file_id: str, owner: str, *, param: str | None = None) -> Stored:
        """Return an owner's file by the id that callers see: `file-` and 32 hex digits.

        Raises NOT_FOUND for every other; `param` names the request's field.
        """
        stored = None
        if file_id.startswith(FILE_PREFIX):
            stored = await self.find(file_id.removeprefix(FILE_PREFIX), "file")
        if stored is None or stored.owner != owner:
            message = "There is no such file: it was never uploaded, was deleted or has expired."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param=param, code="file_not_found")
        return stored

    async def files(self, wanted: Wanted) -> list[Stored]:
        """Return files of an owner."""
        return await files_of(self._database, wanted)

    async def open(
        self, stored: Stored, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Return the bytes from `start` up to, but without, `end`.

        Raises NOT_FOUND, before the first byte, when they are gone from the object store.
        """
        end = stored.size_bytes if end is None else min(end, stored.size_bytes)
        if start >= end:
            return _nothing()
        try:
            return await self._objects.read(_object_of(stored), start, end)
        except AbsentError:
            # The row stays: a folder may be not mounted yet. `reconcile` knows more.
            _log.warning("stored media is gone", kind=stored.kind, id=stored.id)
            message = "The content is gone from the media store."
            raise GroxyError(ErrorKind.NOT_FOUND, message, code="file_not_found") from None

    async def read(self, stored: Stored) -> bytes:
        """Return all bytes; only for what is small enough to be held."""
        parts = await self.open(stored)
        return b"".join([part async for part in parts])

    async def delete(self, ids: Collection[str], kind: Kind | None = None) -> list[Stored]:
        """Delete things, with a `kind` only those of it; return those that were there."""
        known = [one for one in ids if _ID.fullmatch(one)]
        gone = await delete_media(self._database, known, kind)
        try:
            await self._objects.delete([_object_of(one) for one in gone])
        except GroxyError as error:
            # Nobody finds them any more; the bytes are cleared away later.
            _log.warning("media was deleted from the index only", detail=error.detail)
        return gone

    async def list(self, kind: Kind, *, offset: int, limit: int) -> tuple[int, list[Stored]]:
        """Return how many there are of a kind, and some of them, newest first."""
        return await page_of_media(self._database, kind, offset=offset, limit=limit)

    async def stats(self) -> dict[Kind, Sum]:
        """Return how much there is of every kind, to the byte."""
        return await sums_of_media(self._database)

    async def clear(self, kind: Kind) -> int:
        """Delete all of a kind that there is now; return how many that were."""
        deleted = 0
        while True:
            _, some = await self.list(kind, offset=0, limit=_BATCH)
            gone = await self.delete([one.id for one in some])
            deleted += len(gone)
            if not gone:
                return deleted

    async def purge(self) -> int:
        """Delete what has expired or was kept long enough; return how many that were."""
        deleted = 0
        while True:
            ids = await expired_media(
                self._database, _now_ms(), made_before_ms=self._made_before_ms(), limit=_BATCH
            )
            gone = await self.delete(ids)
            deleted += len(gone)
            if not gone:
                return deleted

    async def reconcile(self) -> tuple[int, int]:
        """Clear away bytes without a row and rows without bytes; return how many of each.

        Only what is older than an hour: younger may be on its way. When the store seems empty, or
        the index is, one of them may be another's or not there yet; then nothing is done.
        """
        before_ms = _now_ms() - int(_UNSETTLED_S * 1000)
        await self._objects.sweep(_UNSETTLED_S)
        present: set[str] = set()
        orphans: list[str] = []
        async for some in self._objects.list():
            ours = {name: one for one in some if (name := _id_in(one))}
            present |= ours.keys()
            known = await known_media(self._database, list(ours))
            orphans += [
                one.name
                for name, one in ours.items()
                if name not in known and one.modified_ms < before_ms
            ]
        rows = sum(one.count for one in (await self.stats()).values())
        if not rows or not present:
            if rows or orphans:
                _log.warning("media and their index do not fit", rows=rows, objects=len(present))
            return 0, 0
        await self._objects.delete(orphans)
        return len(orphans), await self._drop_empty_rows(present, before_ms)

    async def _drop_empty_rows(self, present: Collection[str], before_ms: int) -> int:
        dropped, after = 0, ""
        while True:
            ids = await media_after(self._database, after, made_before_ms=before_ms, limit=_BATCH)
            gone = [name for name in ids if name not in present]
            dropped += len(await delete_media(self._database, gone))
            if len(ids) < _BATCH:
                return dropped
            after = ids[-1]

    async def _make_room(self, stored: Stored) -> None:
        """Delete the oldest of a kind if it has outgrown its bound; never what was just stored."""
        most = self.limits.max_total_bytes[stored.kind]
        if not most:
            return
        async with self._making_room:
            if (await self.stats())[stored.kind].size_bytes <= most:
                return
            keep = int(most * _KEPT_SHARE)
            while True:
                ids = await oldest_beyond(
                    self._database, stored.kind, keep, but=stored.id, limit=_BATCH
                )
                if not await self.delete(ids):
                    return

    def _made_before_ms(self) -> int | None:
        """Return the time before which pictures and films were made too long ago."""
        days = self.limits.keep_days
        return _now_ms() - days * _DAY_MS if days else None

    def _is_over(self, stored: Stored) -> bool:
        if stored.expires_ms is not None and stored.expires_ms <= _now_ms():
            return True
        made_before_ms = self._made_before_ms()
        is_made = stored.kind != "file"
        return is_made and made_before_ms is not None and stored.created_ms < made_before_ms


class _Measured:
    """Bytes that are measured on their way to the store."""

    def __init__(self, data: bytes | AsyncIterable[bytes], kind: Kind, most: int) -> None:
        self._data = data
        self._kind = kind
        self._most = most
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def etag(self) -> str:
        """The digest of what went by."""
        return self._hash.hexdigest()

    async def content(self) -> bytes | AsyncIterable[bytes]:
        """Return what is to be written."""
        if not isinstance(self._data, bytes):
            return self._parts(self._data)
        if len(self._data) > _LARGE_BYTES:
            await asyncio.to_thread(self._add, self._data)
        else:
            self._add(self._data)
        return self._data

    async def _parts(self, data: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for part in data:
            self._add(part)
            yield part

    def _add(self, part: bytes) -> None:
        self.size_bytes += len(part)
        if self.size_bytes > self._most:
            message = (
                f"This {self._kind} is larger than {self._most} bytes, the most that is stored "
                f"(setting media.max_{self._kind}_bytes)."
            )
            raise GroxyError(ErrorKind.TOO_LARGE, message)
        self._hash.update(part)


async def _nothing() -> AsyncIterator[bytes]:
    """Return no bytes: stores refuse to read none."""
    nothing: tuple[bytes, ...] = ()
    for part in nothing:
        yield part


def _object_of(stored: Stored) -> str:
    return f"{stored.kind}/{stored.id}"


def _id_in(listed: Listed) -> str:
    """Return the id in an object's name; empty for what is none of ours."""
    found = _OBJECT.fullmatch(listed.name)
    return found[2] if found else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
