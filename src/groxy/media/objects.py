"""The object store: bytes by name, in a local folder, in a bucket or in memory.

In: names and bytes, whole or as they come. Out: the same. What was not written to its end is never
seen. Whatever the store has against it is one error, STORE_DOWN with the code
`media_store_unavailable`; only something that is not there is told apart. Knows no index and no
kinds.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe import logs

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LOCAL_FOLDER = "media"
_PART_BYTES = 5 * 1024 * 1024
_READ_BYTES = 256 * 1024
_LISTED_AT_ONCE = 1_000
_DELETED_AT_ONCE = 16
_RETRY_S = timedelta(seconds=20)
"""How long a bucket's server is asked again; a request waits meanwhile."""
_STAGED = re.compile(r".+#[0-9]+")
"""How a local file is called while it is written (object_store for Rust, local.rs, 2026)."""

_log = logs.get_logger("media")


class AbsentError(Exception):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a list."""

    name: str
    modified_ms: int


class Objects:
    """Objects in one place; `url` as obstore takes it, or empty for a folder in `data_dir`."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self._url = url
        self._folder = None if url else data_dir / LOCAL_FOLDER
        self._store: ObjectStore | None = None

    async def put(self, name: str, data: bytes | AsyncIterable[bytes]) -> None:
        """Write an object as a whole; errors of the source of `data` are passed on as they are."""
        import obstore  # noqa: PLC0415 - a library of 20 MB, and few processes need it
        from obstore.exceptions import BaseError  # noqa: PLC0415 - see above

        source = data if isinstance(data, bytes) else _Source(data)
        try:
            await obstore.put_async(self._opened(), name, source, chunk_size=_PART_BYTES)
        except (BaseError, OSError) as error:
            if isinstance(source, _Source) and source.error is not None:
                raise source.error from None
            raise _unavailable("written", error) from None

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Return the bytes from `start` up to `end`, which are there; raise AbsentError if not."""
        import obstore  # noqa: PLC0415 - see above

        async with self._guarded("read"):
            found = await obstore.get_async(self._opened(), name, options={"range": (start, end)})
        return self._stream(found)

    async def _stream(self, found: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - imported late
        async with self._guarded("read"):
            async for part in found.stream(min_chunk_size=_READ_BYTES):
                yield bytes(part)

    async def has(self, name: str) -> bool:
        """Return whether there is such an object."""
        import obstore  # noqa: PLC0415 - see above

        try:
            async with self._guarded("read"):
                await obstore.head_async(self._opened(), name)
        except AbsentError:
            return False
        return True

    async def delete(self, names: Collection[str]) -> None:
        """Delete objects; those that are not there are no error."""
        room = asyncio.Semaphore(_DELETED_AT_ONCE)

        async def delete(name: str) -> None:
            async with room:
                await self._delete(name)

        ends = await asyncio.gather(*map(delete, names), return_exceptions=True)
        for error in ends:
            if error is not None:
                raise error

    async def _delete(self, name: str) -> None:
        import obstore  # noqa: PLC0415 - see above

        try:
            async with self._guarded("deleted"):
                await obstore.delete_async(self._opened(), name)
        except AbsentError:
            return

    async def list(self) -> AsyncIterator[list[Listed]]:
        """Yield all objects, many at a time."""
        import obstore  # noqa: PLC0415 - see above

        async with self._guarded("listed"):
            async for some in obstore.list(self._opened(), chunk_size=_LISTED_AT_ONCE):
                yield [
                    Listed(one["path"], int(one["last_modified"].timestamp() * 1000))
                    for one in some
                ]

    async def sweep(self, older_than_s: float) -> int:
        """Delete what was half written when a process died; return how many files that were.

        Only a local folder has such; a bucket's own rules delete parts that nobody completed.
        """
        folder = self._folder
        return 0 if folder is None else await asyncio.to_thread(_sweep, folder, older_than_s)

    def _opened(self) -> "ObjectStore":
        if self._store is None:
            self._store = _open_local(self._folder) if self._folder else _open_url(self._url)
        return self._store

    @asynccontextmanager
    async def _guarded(self, what: str) -> AsyncIterator[None]:
        """Turn the store's errors into ours."""
        from obstore.exceptions import BaseError  # noqa: PLC0415 - see above

        try:
            yield
        except FileNotFoundError:
            raise AbsentError from None
        except (BaseError, OSError) as error:
            raise _unavailable(what, error) from None


class _Source:
    """What is to be written, as it comes; it keeps its own error apart from those of the store."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = aiter(parts)
        self.error: Exception | None = None

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def _open_local(folder: Path) -> "ObjectStore":
    from obstore.store import LocalStore  # noqa: PLC0415 - see above

    folder.mkdir(parents=True, exist_ok=True)
    return LocalStore(folder)


def _open_url(url: str) -> "ObjectStore":
    from obstore.store import from_url  # noqa: PLC0415 - see above

    if url.startswith("file:"):
        return from_url(url, mkdir=True)
    if url.startswith("memory:"):
        return from_url(url)
    return from_url(
        url,
        retry_config={"max_retries": 3, "retry_timeout": _RETRY_S},
        client_options={"connect_timeout": "5s", "timeout": "300s"},
    )


def _unavailable(what: str, error: Exception) -> GroxyError:
    # The first line says it; what follows is the library's own view of itself, several lines long.
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    _log.error("media store failed", work=what, detail=reason)
    message = (
        "The media store cannot be used right now, so nothing could be "
        f"{what}. Try again; if it goes on, tell the operator: it may be full."
    )
    return GroxyError(
        ErrorKind.STORE_DOWN,
        message,
        code="media_store_unavailable",
        detail=reason,
        retry_after_s=5,
    )


def _sweep(folder: Path, older_than_s: float) -> int:
    limit_s = time.time_ns() / 1e9 - older_than_s
    swept = 0
    for path in folder.glob("*/*#*"):
        try:
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < limit_s:
                path.unlink()
                swept += 1
        except FileNotFoundError:  # its writer was done, or another process swept too
            continue
    return swept
