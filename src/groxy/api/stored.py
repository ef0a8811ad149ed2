"""Stored content over HTTP: whole or in part, with what caches and players need.

In: something on the shelf, and the headers of a request. Out: 200, 206, 304 or 416. Errors of the
object store come before the first byte. The content is a stranger's, so browsers are told to take
it for nothing else than it says, and to run nothing in it. Must not ask who may have it.
"""

import re
from urllib.parse import quote

from groxy.media.content import ending_of
from groxy.media.shelf import FILE_PREFIX, Shelf
from groxy.store.media import Stored
from groxy.wire.asgi import Headers, Receive, Scope, Send, header

FOR_EVERYBODY = "public, max-age=31536000, immutable"
"""What is at an id never changes."""
FOR_OWNER = "private, max-age=3600"
_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})\s*-\s*(\d{1,18})?|-\s*(\d{1,18}))\s*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]")
_MAX_NAME_CHARS = 128
_Span = tuple[int, int]


async def send_stored(  # noqa: PLR0913 - a request, and what is sent of which shelf
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    shelf: Shelf,
    stored: Stored,
    caching: str = FOR_EVERYBODY,
    as_attachment: bool = False,
) -> None:
    """Answer a GET or HEAD with something stored.

    Raises NOT_FOUND when its bytes are gone, STORE_DOWN when the store fails, as long as nothing
    was sent.
    """
    del receive
    headers = _headers_of(stored, caching, as_attachment=as_attachment)
    if _is_known(scope, stored):
        await _send_head(send, 304, headers[:3])
        return
    span = _span_of(scope, stored)
    if span is None:
        unmet = (b"content-range", b"bytes */%d" % stored.size_bytes)
        await _send_head(send, 416, [unmet, (b"content-length", b"0")])
        return
    start, end = span
    status = 200
    if end - start < stored.size_bytes:
        status = 206
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, stored.size_bytes)))
    headers.append((b"content-length", b"%d" % (end - start)))
    if scope["method"] == "HEAD":
        await _send_head(send, status, headers)
        return
    parts = await shelf.open(stored, start, end)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    async for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _headers_of(stored: Stored, caching: str, *, as_attachment: bool) -> Headers:
    """Return the headers of content; the first three belong to a 304 too."""
    how = "attachment" if as_attachment else "inline"
    content_type = stored.content_type.encode("ascii", errors="replace")
    return [
        (b"etag", f'"{stored.etag}"'.encode()),
        (b"cache-control", caching.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"accept-ranges", b"bytes"),
        (b"content-type", content_type or b"application/octet-stream"),
        (b"content-disposition", f"{how}; {_name_of(stored)}".encode()),
        (b"content-security-policy", b"default-src 'none'; media-src 'self'; sandbox"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]


def _name_of(stored: Stored) -> str:
    """Return the name under which browsers save it, in both forms of RFC 6266."""
    if stored.kind == "file":
        name = stored.name.rpartition("/")[2].rpartition("\\")[2] or FILE_PREFIX + stored.id
    else:
        name = stored.id + ending_of(stored.content_type)
    name = "".join(sign for sign in name if sign.isprintable())[:_MAX_NAME_CHARS]
    plain = f'filename="{_UNSAFE.sub("_", name)}"'
    return plain if name.isascii() else f"{plain}; filename*=UTF-8''{quote(name, safe='')}"


def _is_known(scope: Scope, stored: Stored) -> bool:
    """Return whether the client has it already."""
    known = header(scope, b"if-none-match")
    if known is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return "*" in tags or f'"{stored.etag}"' in tags


def _span_of(scope: Scope, stored: Stored) -> _Span | None:
    """Return which bytes are wanted, the end not included; None where none of them are there.

    Several ranges at once, and what is no range, get the whole, as RFC 9110 14.2 permits.
    """
    whole = (0, stored.size_bytes)
    wanted = header(scope, b"range")
    only_if = header(scope, b"if-range")
    if wanted is None or (only_if is not None and only_if.strip() != f'"{stored.etag}"'):
        return whole
    found = _RANGE.fullmatch(wanted.strip().lower())
    if found is None:
        return whole
    first, last, count = found.groups()
    if count is not None:
        start, end = max(stored.size_bytes - int(count), 0), stored.size_bytes
    else:
        start = int(first)
        end = stored.size_bytes if last is None else min(int(last) + 1, stored.size_bytes)
        if last is not None and int(last) < start:
            return whole
    return (start, end) if start < end else None


async def _send_head(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
