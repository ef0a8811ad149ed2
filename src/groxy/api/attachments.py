"""Files of the Files API in messages: their ids give way to what is in them.

In: a body in chat, Responses or Messages that names files by id. Out: the body with pictures as
data URIs, text as text, and other files as data, which every upstream takes that takes such things
at all. Only a caller's own files are found. Ids of another form are an upstream's own and stay.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.content import data_uri
from groxy.media.shelf import Shelf
from groxy.store.media import Stored
from groxy.wire.json import UNREADABLE, decode_any, encode

_WORD = b'"file_id"'
_OURS = re.compile(r"file-[0-9a-f]{32}")
_MOST_FILES = 20
_MOST_BYTES = 64 * 1024 * 1024
"""Of all files of one request together: they are held in memory."""
_PICTURES = "image/"
_ROOTS = ("messages", "input", "system")

Part = dict[str, Any]
Place = Callable[[Stored, bytes], Part]
"""Writes a file as a part of a message."""


class Attachments:
    """Puts files in the place of their ids."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def filled(self, body: bytes, dialect: str, owner: str) -> bytes:
        """Return a body with its files in it; the same body when it names none of ours.

        Raises NOT_FOUND for a file that this owner does not have, with the part's path in `param`;
        TOO_LARGE when the files are more than a request may carry.
        """
        place = _PLACES.get(dialect)
        if place is None or _WORD not in body:
            return body
        try:
            request = decode_any(body)
        except UNREADABLE:
            return body  # The dialect says what is wrong with it.
        filling = _Filling(self._shelf, owner, place)
        if not isinstance(request, dict):
            return body
        for root in _ROOTS:
            if root in request:
                request[root] = await filling.of(request[root], root)
        return encode(request) if filling.count else body


class _Filling:
    """The files of one request."""

    def __init__(self, shelf: Shelf, owner: str, place: Place) -> None:
        self._shelf = shelf
        self._owner = owner
        self._place = place
        self._size = 0
        self.count = 0

    async def of(self, value: Any, path: str) -> Any:  # noqa: ANN401 - JSON of unknown shape
        """Return a value with the files that it names."""
        if isinstance(value, list):
            return [await self.of(one, f"{path}.{index}") for index, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        file_id = _id_in(value)
        if file_id is not None:
            return await self._file(file_id, path)
        return {name: await self.of(one, f"{path}.{name}") for name, one in value.items()}

    async def _file(self, file_id: str, path: str) -> Part:
        stored = await self._shelf.file(file_id, self._owner, param=path)
        self.count += 1
        self._size += stored.size_bytes
        if self.count > _MOST_FILES or self._size > _MOST_BYTES:
            message = (
                f"The files of a request are {_MOST_FILES} and {_MOST_BYTES} bytes at most. "
                "Send less at once."
            )
            raise GroxyError(ErrorKind.TOO_LARGE, message, param=path)
        return self._place(stored, await self._shelf.read(stored))


def _id_in(part: Mapping[str, Any]) -> str | None:
    """Return the id of one of our files, if this is a part of a message that names one."""
    if not isinstance(part.get("type"), str):
        return None
    for holder in (part, part.get("file"), part.get("source")):
        if isinstance(holder, dict):
            named = holder.get("file_id")
            if isinstance(named, str) and _OURS.fullmatch(named):
                return named
    return None


def _text_of(stored: Stored, content: bytes) -> str | None:
    """Return a file's text; None for what is none."""
    if stored.content_type.startswith(_PICTURES) or b"\0" in content:
        return None
    if content.startswith(b"%PDF-"):
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _headed(stored: Stored, text: str) -> str:
    return f"File {stored.name}:\n\n{text}" if stored.name else text


def _type_of(stored: Stored, content: bytes) -> str:
    return "application/pdf" if content.startswith(b"%PDF-") else stored.content_type


def _in_chat(stored: Stored, content: bytes) -> Part:
    text = _text_of(stored, content)
    if text is not None:
        return {"type": "text", "text": _headed(stored, text)}
    uri = data_uri(content, _type_of(stored, content))
    if stored.content_type.startswith(_PICTURES):
        return {"type": "image_url", "image_url": {"url": uri}}
    return {"type": "file", "file": {"filename": stored.name or "document", "file_data": uri}}


def _in_responses(stored: Stored, content: bytes) -> Part:
    text = _text_of(stored, content)
    if text is not None:
        return {"type": "input_text", "text": _headed(stored, text)}
    uri = data_uri(content, _type_of(stored, content))
    if stored.content_type.startswith(_PICTURES):
        return {"type": "input_image", "image_url": uri}
    return {"type": "input_file", "filename": stored.name or "document", "file_data": uri}


def _in_messages(stored: Stored, content: bytes) -> Part:
    text = _text_of(stored, content)
    title = {"title": stored.name} if stored.name else {}
    if text is not None:
        source: Part = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "source": source, **title}
    data = base64.b64encode(content).decode()
    source = {"type": "base64", "media_type": _type_of(stored, content), "data": data}
    if stored.content_type.startswith(_PICTURES):
        return {"type": "image", "source": source}
    return {"type": "document", "source": source, **title}


_PLACES: Mapping[str, Place] = {
    "chat": _in_chat,
    "responses": _in_responses,
    "messages": _in_messages,
}
