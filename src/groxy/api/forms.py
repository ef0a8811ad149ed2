"""Forms: the fields and files of a multipart body, read within bounds.

In: a request. Out: a `Form`; or a 4xx that names the field at fault. No more than the bounds is
ever held, and reading stops with the first byte beyond one. Must not know what a field means, nor
believe what a file says of itself.
"""

import time
from dataclasses import dataclass, field

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.asgi import BODY_IS_READ, Receive, Scope, ask_again, header

_MAX_FIELD_BYTES = 1024 * 1024
"""Of a field that is no file: a prompt at most."""
_MAX_HEADER_BYTES = 8 * 1024
"""Of all headers of one part; browsers send some hundred bytes."""
_SHOWN_CHARS = 64


class FormFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a form."""

    field: str
    """The form's name for it, such as `image` or `image[]`."""
    name: str
    """What the caller calls the file. Not to be believed, and no path."""
    content: bytes


@dataclass(slots=True)
class Form:
    """What a form has, in the order it came in."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        """Return a field's value; of repeated ones the last, as HTML forms are read."""
        values = self.fields.get(name)
        return values[-1] if values else None

    def files_of(self, *names: str) -> list[FormFile]:
        """Return the files of some fields."""
        return [one for one in self.files if one.field in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    max_files: int
    max_file_bytes: int
    max_fields: int
    max_total_bytes: int


def is_form(scope: Scope) -> bool:
    """True for a request whose body is a multipart form."""
    return (header(scope, b"content-type") or "").lower().startswith("multipart/form-data")


async def read_form(
    scope: Scope,
    receive: Receive,
    *,
    max_files: int,
    max_file_bytes: int,
    max_fields: int,
    max_total_bytes: int,
) -> Form:
    """Return the form that a request's body is.

    Raises BAD_REQUEST for what is no form and for too many parts, TOO_LARGE beyond a bound of size.
    """
    bounds = _Bounds(
        max_files=max_files,
        max_file_bytes=max_file_bytes,
        max_fields=max_fields,
        max_total_bytes=max_total_bytes,
    )
    if (header(scope, b"content-encoding") or "identity").lower() != "identity":
        said = "Compressed request bodies are not supported. Send the form without encoding."
        raise GroxyError(ErrorKind.BAD_REQUEST, said, param="content-encoding")
    declared = header(scope, b"content-length")
    # Nineteen digits are more than any bound; int() refuses thousands of them.
    if declared is not None and declared.isdecimal() and int(declared[:19]) > max_total_bytes:
        raise _too_large("The form", max_total_bytes)
    reader = _FormReader(_boundary(scope), bounds)
    began = time.monotonic()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GroxyError(ErrorKind.CANCELLED, "The client closed the connection.")
        is_last = not message.get("more_body", False)
        if is_last:
            scope[BODY_IS_READ] = True
        reader.feed(message.get("body", b""))
        if is_last:
            await ask_again(scope, began)
            return reader.close()


def _boundary(scope: Scope) -> bytes:
    _, options = parse_options_header(header(scope, b"content-type"))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    return boundary


class _FormReader:
    """Takes a body in any portions."""

    def __init__(self, boundary: bytes, bounds: _Bounds) -> None:
        self._bounds = bounds
        self._form = Form()
        self._size = 0
        self._count_fields = 0
        self._is_complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._header_bytes = 0
        self._disposition = b""
        self._name = ""
        self._file_name: str | None = None
        self._content = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_name,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise _unreadable("its boundary is too long") from None

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(piece)
        if self._size > self._bounds.max_total_bytes:
            raise _too_large("The form", self._bounds.max_total_bytes)
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _unreadable("it is malformed") from None

    def close(self) -> Form:
        """Return the form, now that the body has ended."""
        if not self._is_complete:
            raise _unreadable("it ends before its last boundary")
        return self._form

    def _begin_part(self) -> None:
        self._header_bytes = 0
        self._disposition = b""
        self._content = bytearray()

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += self._header(data, start, end)

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += self._header(data, start, end)

    def _header(self, data: bytes, start: int, end: int) -> bytes:
        self._header_bytes += end - start
        if self._header_bytes > _MAX_HEADER_BYTES:
            raise _unreadable("the headers of a part are too long")
        return data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _unreadable("a part has no name")
        self._name = _text(options[b"name"])[:_SHOWN_CHARS]
        self._file_name = None
        if b"filename" in options:
            self._file_name = _text(options[b"filename"])
            if len(self._form.files) >= self._bounds.max_files:
                raise self._too_many("files", self._bounds.max_files)
            return
        self._count_fields += 1
        if self._count_fields > self._bounds.max_fields:
            raise self._too_many("fields", self._bounds.max_fields)

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        is_file = self._file_name is not None
        most = self._bounds.max_file_bytes if is_file else _MAX_FIELD_BYTES
        if len(self._content) + end - start > most:
            what = "file" if is_file else "field"
            raise _too_large(f"The {what} `{self._name}`", most, param=_plain(self._name))
        self._content += data[start:end]

    def _end_part(self) -> None:
        content = bytes(self._content)
        self._content = bytearray()
        if self._file_name is not None:
            file = FormFile(field=self._name, name=self._file_name, content=content)
            self._form.files.append(file)
            return
        try:
            value = content.decode()
        except UnicodeDecodeError:
            message = f"The field `{self._name}` is not valid UTF-8."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param=_plain(self._name)) from None
        self._form.fields.setdefault(self._name, []).append(value)

    def _end(self) -> None:
        self._is_complete = True

    def _too_many(self, what: str, most: int) -> GroxyError:
        message = f"The form has more than {most} {what}. Send fewer."
        return GroxyError(ErrorKind.BAD_REQUEST, message, param=_plain(self._name))


def _plain(name: str) -> str:
    return name.removesuffix("[]")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _unreadable(why: str) -> GroxyError:
    message = f"The multipart form could not be read: {why}."
    return GroxyError(ErrorKind.BAD_REQUEST, message)


def _too_large(what: str, most: int, *, param: str | None = None) -> GroxyError:
    message = f"{what} is larger than {most} bytes, the most that is taken here. Send less."
    return GroxyError(ErrorKind.TOO_LARGE, message, param=param)
