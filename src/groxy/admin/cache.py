"""Stored media: five endpoints below /cache, over a `MediaShelf`.

In: a kind of media, names of files. Out: how much there is, a list, what was deleted. It knows no
folder: a name with a path in it is refused before the shelf sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Query
from pydantic import Field

from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.shapes import ErrorAnswer, Given, Told
from groxy.core.errors import ErrorKind, GroxyError

Kind = Literal["image", "video"]
MAX_NAMES = 1_000
_MAX_NAME_CHARS = 255
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfStats:
    """How much is stored of one kind."""

    count: int = 0
    size_bytes: int = 0
    limit_bytes: int = 0
    """0 is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file."""

    name: str
    size_bytes: int
    modified_ms: int


class MediaShelf(Protocol):
    """Where media are stored."""

    async def stats(self, kind: Kind) -> ShelfStats:
        """Return how much there is."""
        ...

    async def files(self, kind: Kind, *, offset: int, limit: int) -> tuple[int, list[StoredFile]]:
        """Return how many files there are, and some of them, newest first."""
        ...

    async def clear(self, kind: Kind) -> int:
        """Delete all files of a kind; return how many they were."""
        ...

    async def delete(self, kind: Kind, names: Sequence[str]) -> list[str]:
        """Delete files; return the names of those that were there."""
        ...


class Shelf(Told):
    """How much is stored of one kind."""

    count: int
    size_mb: float
    size_bytes: int
    limit_mb: float = Field(description="0 is no limit.")
    limit_bytes: int
    limited: bool
    usage_ratio: float | None = Field(description="Null where there is no limit.")
    usage_percent: float | None


class Shelves(Told):
    """How much is stored."""

    local_image: Shelf
    local_video: Shelf


class File(Told):
    """One stored file."""

    name: str
    size_bytes: int
    modified_at: int = Field(description="In unix milliseconds.")


class Pagination(Told):
    """Where in a list this page is."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_more: bool


class Files(Told):
    """A page of stored files, newest first."""

    status: str = "success"
    total: int
    page: int
    page_size: int
    items: list[File]
    pagination: Pagination


class Clear(Given):
    """What to delete all of."""

    type: Kind = "image"


class DeleteOne(Given):
    """Which file to delete."""

    type: Kind = "image"
    name: str = Field(default="", examples=["0f3a.jpg"])


class DeleteMany(Given):
    """Which files to delete."""

    type: Kind = "image"
    names: list[str] = Field(default=[], examples=[["0f3a.jpg", "1b2c.png"]])


class Removed(Told):
    """How many files were deleted."""

    removed: int


class Cleared(Told):
    """All files of a kind were deleted."""

    status: str = "success"
    result: Removed


class DeletedName(Told):
    """Which file was deleted."""

    deleted: str


class DeletedOne(Told):
    """A file was deleted."""

    status: str = "success"
    result: DeletedName


class DeletedCounts(Told):
    """How many files were deleted, and how many were not there."""

    deleted: int
    missing: int


class DeletedMany(Told):
    """Files were deleted."""

    status: str = "success"
    result: DeletedCounts


def router(auditor: Auditor, shelf: MediaShelf) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["cache"], prefix="/cache")
    _add_questions(routes, shelf)
    _add_deletions(routes, auditor, shelf)
    return routes


def _add_questions(routes: APIRouter, shelf: MediaShelf) -> None:
    @routes.get("", summary="How much is stored")
    async def get_cache() -> Shelves:
        return Shelves(
            local_image=_shelf(await shelf.stats("image")),
            local_video=_shelf(await shelf.stats("video")),
        )

    @routes.get("/list", summary="Stored files, newest first")
    async def get_list(
        kind: Annotated[Kind | None, Query(alias="type")] = None,
        cache_type: Annotated[Kind | None, Query(description="The same as `type`.")] = None,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Files:
        wanted = kind or cache_type or "image"
        offset = (page - 1) * page_size
        total, files = await shelf.files(wanted, offset=offset, limit=page_size)
        return Files(
            total=total,
            page=page,
            page_size=page_size,
            items=[
                File(name=one.name, size_bytes=one.size_bytes, modified_at=one.modified_ms)
                for one in files
            ],
            pagination=Pagination(
                page=page,
                page_size=page_size,
                total=total,
                total_pages=-(-total // page_size),
                has_more=offset + len(files) < total,
            ),
        )


def _add_deletions(routes: APIRouter, auditor: Auditor, shelf: MediaShelf) -> None:
    @routes.post("/clear", summary="Delete all files of a kind")
    async def clear(actor: Actor, wanted: Clear) -> Cleared:
        removed = await shelf.clear(wanted.type)
        await auditor.note(actor, "cache.clear", wanted.type, after={"removed": removed})
        return Cleared(result=Removed(removed=removed))

    @routes.post("/item/delete", summary="Delete one file", responses={404: {"model": ErrorAnswer}})
    async def delete_one(actor: Actor, wanted: DeleteOne) -> DeletedOne:
        name = checked_name(wanted.name, "name")
        if not await shelf.delete(wanted.type, [name]):
            message = f"There is no {wanted.type} of this name. GET /admin/api/cache/list has all."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="name", code="file_not_found")
        await auditor.note(actor, "cache.delete", f"{wanted.type}/{name}")
        return DeletedOne(result=DeletedName(deleted=name))

    @routes.post("/items/delete", summary="Delete files")
    async def delete_many(actor: Actor, wanted: DeleteMany) -> DeletedMany:
        names = _checked_names(wanted.names)
        deleted = await shelf.delete(wanted.type, names)
        if deleted:
            await auditor.note(
                actor, "cache.delete", f"{len(deleted)} {wanted.type} files", before=deleted
            )
        missing = len(names) - len(deleted)
        return DeletedMany(result=DeletedCounts(deleted=len(deleted), missing=missing))


def checked_name(name: str, param: str) -> str:
    """Return the name of a file, or raise BAD_REQUEST for one that may mean another place."""
    name = name.strip()
    if not name:
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            f"`{param}` is required: the name of a file as /admin/api/cache/list has it.",
            param=param,
            code="missing_file_name",
        )
    is_plain = name.isprintable() and not any(sign in name for sign in ("/", "\\", ".."))
    if not is_plain or name.startswith(".") or len(name) > _MAX_NAME_CHARS:
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            f"`{param}` must be the name of a file, without a path.",
            param=param,
            code="invalid_file_name",
        )
    return name


def _checked_names(names: Sequence[str]) -> list[str]:
    if not names:
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            "`names` is required: names of files as /admin/api/cache/list has them.",
            param="names",
            code="missing_file_names",
        )
    if len(names) > MAX_NAMES:
        raise GroxyError(
            ErrorKind.BAD_REQUEST,
            f"`names` has {len(names)} names; {MAX_NAMES} at once are the most.",
            param="names",
            code="too_many_names",
        )
    checked = [checked_name(name, f"names.{index}") for index, name in enumerate(names)]
    return list(dict.fromkeys(checked))


def _shelf(stats: ShelfStats) -> Shelf:
    is_limited = stats.limit_bytes > 0
    ratio = stats.size_bytes / stats.limit_bytes if is_limited else None
    return Shelf(
        count=stats.count,
        size_mb=round(stats.size_bytes / _MB, 3),
        size_bytes=stats.size_bytes,
        limit_mb=round(stats.limit_bytes / _MB, 3),
        limit_bytes=stats.limit_bytes,
        limited=is_limited,
        usage_ratio=None if ratio is None else round(ratio, 4),
        usage_percent=None if ratio is None else round(ratio * 100, 2),
    )
