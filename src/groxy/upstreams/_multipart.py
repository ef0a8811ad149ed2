"""Forms with files, as OpenAI's edits and films are sent.

In: fields and files. Out: the body of a `multipart/form-data` request and its content type, in
memory. Names are our own and need no escaping. Must not read what is in a file.
"""

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_hex

from groxy.core.errors import ErrorKind, GroxyError

_ENDINGS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """A file in a form. Servers tell its type by name or by content type, so it has both."""

    field: str
    name: str
    content_type: str
    content: bytes


def file_of(field: str, stem: str, data_uri: str) -> FormFile:
    """Return the file that a data URI holds; raise BAD_REQUEST for one that is broken."""
    content_type, content = read_data_uri(data_uri, field)
    ending = _ENDINGS.get(content_type, "bin")
    return FormFile(
        field=field, name=f"{stem}.{ending}", content_type=content_type, content=content
    )


def read_data_uri(uri: str, param: str) -> tuple[str, bytes]:
    """Return type and content of a base64 data URI; raise BAD_REQUEST for anything else."""
    head, comma, data = uri.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise _broken(param)
    content_type = head.removeprefix("data:").removesuffix(";base64").partition(";")[0].lower()
    try:
        content = b64decode(data, validate=True)
    except ValueError:
        raise _broken(param) from None
    if not content_type.replace("/", "").replace("-", "").replace("+", "").isalnum():
        raise _broken(param)  # It becomes a header, which must not end early.
    return content_type, content


def write_form(fields: Iterable[tuple[str, str]], files: Iterable[FormFile]) -> tuple[bytes, str]:
    """Return a form's body and its content type; fields come before files."""
    boundary = f"groxy-{token_hex(16)}"
    opening = f"--{boundary}\r\nContent-Disposition: form-data; name="
    pieces = [f'{opening}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
    for file in files:
        head = (
            f'{opening}"{file.field}"; filename="{file.name}"\r\n'
            f"Content-Type: {file.content_type}\r\n\r\n"
        )
        pieces += [head.encode(), file.content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def _broken(param: str) -> GroxyError:
    message = f"`{param}` is no base64 data URI, such as data:image/png;base64,iVBORw0K…"
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
