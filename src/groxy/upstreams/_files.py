"""The files that an account has at its upstream.

In: the body of a good reply to a GET of `Upstream.files_path`. Out: a page of files, and where the
next page begins. It must not read what is in a file.
"""

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.json import UNREADABLE

FILES_A_PAGE = 100
"""As many as xAI and OpenAI give at once (xAI's OpenAPI document, 2026-08)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that is kept at an upstream."""

    id: str
    name: str = ""
    content_type: str = ""
    """Empty where the upstream does not tell."""
    size_bytes: int = 0
    created_at: float = 0.0
    """Unix seconds; 0 where the upstream does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileList:
    """A page of an account's files."""

    files: tuple[RemoteFile, ...] = ()
    next: str = ""
    """The cursor of the next page, for `Upstream.files_query`; empty when this was the last."""


_Number = int | float | str | None


class _File(msgspec.Struct):
    id: str
    filename: str | None = None
    bytes: _Number = None
    created_at: _Number = None
    content_type: str | None = None
    mime_type: str | None = None


class _Page(msgspec.Struct):
    data: list[_File]
    has_more: bool | None = None
    last_id: str | None = None
    pagination_token: str | None = None


_page_decoder = msgspec.json.Decoder(_Page)
_MOST = 2**53


def list_query(cursor: str) -> str:
    """Return the query of a page as OpenAI has it (platform.openai.com, List files, 2026)."""
    return _query("after", cursor)


def token_query(cursor: str) -> str:
    """Return the query of a page as xAI has it (its OpenAPI document, 2026-08)."""
    return _query("pagination_token", cursor)


def read_file_list(body: bytes) -> FileList:
    """Return a page of files as OpenAI has it; raise BAD_REPLY for anything else."""
    page = _decoded(body)
    cursor = (page.last_id or page.data[-1].id) if page.has_more and page.data else ""
    return FileList(files=_files(page), next=cursor)


def read_token_list(body: bytes) -> FileList:
    """Return a page of files as xAI has it; raise BAD_REPLY for anything else.

    `pagination_token` is always there, so a page that is not full is the last one.
    """
    page = _decoded(body)
    is_full = len(page.data) >= FILES_A_PAGE
    return FileList(files=_files(page), next=(page.pagination_token or "") if is_full else "")


def path_of_file(files_path: str, file_id: str) -> str:
    """Return the path of one file; raise NOT_FOUND for an id that no file can have.

    An id is one segment of the path whatever is in it, and dots alone would leave the folder.
    """
    if file_id.strip(".") == "":
        message = "There is no such file. Take an id from the list of the account's files."
        raise GroxyError(ErrorKind.NOT_FOUND, message, param="id")
    return f"{files_path}/{quote(file_id, safe='')}"


def _query(name: str, cursor: str) -> str:
    more = f"&{name}={quote(cursor, safe='')}" if cursor else ""
    return f"?limit={FILES_A_PAGE}{more}"


def _decoded(body: bytes) -> _Page:
    try:
        return _page_decoder.decode(body)
    except UNREADABLE:
        message = "The upstream's list of files could not be read."
        raise GroxyError(ErrorKind.BAD_REPLY, message) from None


def _files(page: _Page) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            id=file.id,
            name=file.filename or "",
            content_type=file.content_type or file.mime_type or "",
            size_bytes=int(_number(file.bytes)),
            created_at=_number(file.created_at),
        )
        for file in page.data
    )


def _number(value: _Number) -> float:
    """Return a number that may come as a text; 0 for what is none."""
    try:
        number = float(value or 0)
    except (ValueError, OverflowError):
        return 0.0
    return number if 0 <= number <= _MOST else 0.0
