"""Stored media by link, and the Files API.

GET and HEAD /v1/files/image and /v1/files/video take an id that nobody can guess, and no key.
POST and GET /v1/files, GET and DELETE /v1/files/{id}, GET /v1/files/{id}/content are OpenAI's
(openai-openapi, and openai-python 3.52, 2026), each for the files of the key that asks: another's
is answered like one that never was.
"""

import re
import time
from urllib.parse import parse_qsl

from groxy.api.forms import Form, FormFile, read_form
from groxy.api.stored import FOR_EVERYBODY, FOR_OWNER, send_stored
from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.content import sniff_image, sniff_video
from groxy.media.links import LinkedKind, Links, link_not_found
from groxy.media.shelf import FILE_PREFIX, Shelf
from groxy.policy.keys import Keyring
from groxy.store.media import Stored, Wanted
from groxy.wire.asgi import Receive, Scope, Send, respond
from groxy.wire.json import encode

PURPOSES = (
    "assistants",
    "batch",
    "fine-tune",
    "vision",
    "user_data",
    "evals",
)
_LINK_ID = re.compile(r"[0-9a-f-]{16,36}")
"""The contract's rule; ids of ours are 32 hex digits, so others are well-formed but not there."""
_MAX_QUERY_CHARS = 2_048
_MOST_LISTED = 10_000
_FORM_FIELDS = 10
_FORM_BYTES = 64 * 1024
"""For the fields and headers of a form, beside its file."""
_SHORTEST_S, _LONGEST_S = 3_600, 2_592_000
"""Of `expires_after[seconds]`, as OpenAI has it: an hour to 30 days."""


class StoredMedia:
    """GET /v1/files/image and /v1/files/video."""

    def __init__(self, shelf: Shelf, links: Links) -> None:
        self._shelf = shelf
        self._links = links

    async def image(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a picture."""
        await self._serve("image", scope, receive, send)

    async def video(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a film."""
        await self._serve("video", scope, receive, send)

    async def _serve(self, kind: LinkedKind, scope: Scope, receive: Receive, send: Send) -> None:
        query = _query(scope)
        wanted = query.get("id", "")
        if not _LINK_ID.fullmatch(wanted):
            message = "`id` must be the id of a stored file, as the link has it."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="id", code="invalid_file_id")
        self._links.check(kind, query)
        stored = await self._shelf.find(wanted, kind)
        if stored is None:
            raise link_not_found()
        # No cache shared by many keeps what only a link in time may show.
        ttl_s = self._links.ttl_s
        caching = f"private, max-age={ttl_s}" if ttl_s else FOR_EVERYBODY
        await send_stored(scope, receive, send, shelf=self._shelf, stored=stored, caching=caching)


class Files:
    """The Files API."""

    def __init__(self, shelf: Shelf, keyring: Keyring) -> None:
        self._shelf = shelf
        self._keyring = keyring

    async def upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store a file for a key."""
        owner = identify(self._keyring, scope).key_id
        most = self._shelf.limits.max_bytes["file"]
        form = await read_form(
            scope,
            receive,
            max_files=1,
            max_file_bytes=most,
            max_fields=_FORM_FIELDS,
            max_total_bytes=most + _FORM_BYTES,
        )
        file, purpose = _file_in(form), _purpose_in(form)
        lasts_ms = _lasting_in(form)
        stored = await self._shelf.put(
            "file",
            file.content,
            content_type=_type_of(file.content),
            owner=owner,
            name=_name_of(file),
            purpose=purpose,
            expires_ms=None if lasts_ms is None else time.time_ns() // 1_000_000 + lasts_ms,
        )
        await respond(send, 200, encode(_shown(stored)))

    async def all(self, scope: Scope, receive: Receive, send: Send) -> None:
        """List the files of a key."""
        del receive
        owner = identify(self._keyring, scope).key_id
        query = _query(scope)
        limit = _limit(query.get("limit"))
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            message = "`order` must be asc or desc."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="order")
        after = query.get("after")
        wanted = Wanted(
            owner=owner,
            now_ms=time.time_ns() // 1_000_000,
            limit=limit + 1,
            after=await self._shelf.file(after, owner, param="after") if after else None,
            newest_first=order == "desc",
            purpose=query.get("purpose", ""),
        )
        found = await self._shelf.files(wanted)
        page = [_shown(one) for one in found[:limit]]
        body = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(found) > limit,
        }
        await respond(send, 200, encode(body))

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell of one file."""
        del receive
        await respond(send, 200, encode(_shown(await self._asked(scope))))

    async def content(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the content of one file."""
        stored = await self._asked(scope)
        await send_stored(
            scope,
            receive,
            send,
            shelf=self._shelf,
            stored=stored,
            caching=FOR_OWNER,
            as_attachment=True,
        )

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delete one file for good."""
        del receive
        stored = await self._asked(scope)
        await self._shelf.delete([stored.id], "file")
        body = {"id": FILE_PREFIX + stored.id, "object": "file", "deleted": True}
        await respond(send, 200, encode(body))

    async def _asked(self, scope: Scope) -> Stored:
        owner = identify(self._keyring, scope).key_id
        return await self._shelf.file(scope["path_params"]["id"], owner, param="file_id")


def _shown(stored: Stored) -> dict[str, object]:
    return {
        "id": FILE_PREFIX + stored.id,
        "object": "file",
        "bytes": stored.size_bytes,
        "created_at": stored.created_ms // 1000,
        "expires_at": None if stored.expires_ms is None else stored.expires_ms // 1000,
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
    }


def _file_in(form: Form) -> FormFile:
    files = form.files_of("file")
    if not files:
        message = "`file` is required: a file of a multipart form."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="file")
    if not files[0].content:
        message = "`file` is empty. Send a file with something in it."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="file")
    return files[0]


def _purpose_in(form: Form) -> str:
    purpose = form.value("purpose")
    if purpose is None:
        message = f"`purpose` is required: one of {', '.join(PURPOSES)}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="purpose")
    if purpose not in PURPOSES:
        message = f"`purpose` must be one of {', '.join(PURPOSES)}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="purpose")
    return purpose


def _lasting_in(form: Form) -> int | None:
    """Return how many milliseconds a file is to be kept; None for as long as its owner likes."""
    anchor, seconds = form.value("expires_after[anchor]"), form.value("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "`expires_after[anchor]` must be created_at."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="expires_after.anchor")
    text = seconds or ""
    is_number = text.isascii() and text.isdecimal() and len(text) < 12
    if not is_number or not _SHORTEST_S <= int(text) <= _LONGEST_S:
        message = (
            f"`expires_after[seconds]` must be a whole number from {_SHORTEST_S} to {_LONGEST_S}."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="expires_after.seconds")
    return int(text) * 1000


def _type_of(content: bytes) -> str:
    """Return what content is, as far as its first bytes say; never what its name says."""
    found = sniff_image(content) or sniff_video(content)
    if found:
        return found
    return "application/pdf" if content.startswith(b"%PDF-") else "application/octet-stream"


def _name_of(file: FormFile) -> str:
    """Return the name of a file without a path, and without what no name has."""
    name = file.name.replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in name if sign.isprintable()) or "file"


def _query(scope: Scope) -> dict[str, str]:
    raw = scope.get("query_string", b"").decode("latin-1")[:_MAX_QUERY_CHARS]
    # The first of a name counts.
    return dict(reversed(parse_qsl(raw)))


def _limit(text: str | None) -> int:
    if text is None:
        return _MOST_LISTED
    is_number = text.isascii() and text.isdecimal() and len(text) < 6
    if not is_number or not 1 <= int(text) <= _MOST_LISTED:
        message = f"`limit` must be a number from 1 to {_MOST_LISTED}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="limit")
    return int(text)
