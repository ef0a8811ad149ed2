"""Strict JSON: what comes in is checked, named precisely when wrong, and never half-read.

In: bytes from a caller or an upstream. Out: typed values, or `GroxyError` that names the field.
NaN, Infinity, lone surrogates, invalid UTF-8 and nesting beyond the interpreter's limit are
errors; of duplicate keys the last one counts. Must not use the standard library's json.
"""

import re
from codecs import utf_8_decode
from typing import Any, TypeVar

import msgspec

from groxy.core.errors import ErrorKind, GroxyError

T = TypeVar("T")

Fields = dict[str, msgspec.Raw]
"""A JSON object, decoded one level deep: values stay bytes and survive untouched."""

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

encode = msgspec.json.encode
_PIECE_BYTES = 64 * 1024
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises; also for what a shallower decoding of the same bytes passed over."""

_fields_decoder = msgspec.json.Decoder(Fields)
_PATH = re.compile(r" - at `(key in )?\$\.?([^`]*)`$")


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return a reusable decoder for `kind`."""
    return msgspec.json.Decoder(kind)


def decode_fields(body: bytes | memoryview | msgspec.Raw) -> Fields:
    """Decode a JSON object one level deep; raise `ValueError` kinds as msgspec does."""
    return _fields_decoder.decode(body)


def decode_any(body: bytes | msgspec.Raw) -> Any:  # noqa: ANN401  JSON of unknown shape
    """Decode any JSON into plain Python values."""
    return msgspec.json.decode(body)


def decode_request(body: bytes, read: msgspec.json.Decoder[T]) -> T:
    """Decode a caller's body, or raise the error that tells the caller what to mend."""
    try:
        _check_text(body)
        return read.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid_field(error) from None
    except msgspec.DecodeError as error:
        raise GroxyError(ErrorKind.BAD_JSON, _malformed(body, str(error))) from None
    except UnicodeDecodeError as error:
        message = f"The request body is not valid UTF-8 at byte {error.start}. Send UTF-8 JSON."
        raise GroxyError(ErrorKind.BAD_JSON, message) from None
    except RecursionError:
        message = "The request body is nested too deeply. Flatten it and try again."
        raise GroxyError(ErrorKind.BAD_JSON, message) from None


def _check_text(body: bytes) -> None:
    """Raise UnicodeDecodeError unless all of it is UTF-8, also what nobody reads.

    Piece by piece, which takes 0.4 ms of a megabyte; the text of it at once took 1.1 ms.
    """
    if body.isascii():
        return
    rest, at, end = memoryview(body), 0, len(body)
    try:
        while at < end:
            at += utf_8_decode(rest[at : at + _PIECE_BYTES], "strict", at + _PIECE_BYTES >= end)[1]
    except UnicodeDecodeError as error:
        start, stop = at + error.start, at + error.end
        raise UnicodeDecodeError("utf-8", body, start, stop, error.reason) from None


def _malformed(body: bytes, reason: str) -> str:
    if not body.strip():
        return "The request body is empty. Send a JSON object with Content-Type application/json."
    reason = reason.removeprefix("JSON is malformed: ")
    return (
        f"The request body is not valid JSON: {reason}. "
        "NaN, Infinity, comments and trailing commas are not JSON."
    )


def _invalid_field(error: msgspec.ValidationError) -> GroxyError:
    """Turn msgspec's words and path into a message and a dotted `param`."""
    text = str(error)
    match = _PATH.search(text)
    what, path = (text[: match.start()], match.group(2)) if match else (text, "")
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if missing:
        path = f"{path}.{missing.group(1)}"
    elif what.startswith("Invalid enum value"):
        what = "This value is not among those it takes"  # msgspec would repeat the caller's text
    param = path.replace("[...]", "").replace("[", ".").replace("]", "").strip(".")
    if missing:
        message = f"`{param}` is required."
    elif param:
        message = f"`{param}` is invalid: {what[:1].lower()}{what[1:]}."
    else:
        message = f"The request body is invalid: {what[:1].lower()}{what[1:]}."
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param or None)
