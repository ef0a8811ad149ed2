"""The shape of a completions reply, streamed or whole, as far as the books need it."""

import msgspec

from groxy.wire.json import UNREADABLE, encode

ABSENT = msgspec.Raw(b"")
"""The value of a field that is not there: compare with `is`."""


class Choice(msgspec.Struct):
    """A choice of a chunk or of a whole reply."""

    index: int = 0
    text: str | int | float | bool | None = None
    finish_reason: str | None = None


class Reply(msgspec.Struct):
    """A chunk of a stream, or a whole reply."""

    id: str | None = None
    model: str | None = None
    created: msgspec.Raw = ABSENT
    choices: list[Choice] | None = None
    usage: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


decode_reply = msgspec.json.Decoder(Reply).decode

_decode_number = msgspec.json.Decoder(float).decode


def text_of(text: str | float | None) -> str:
    """Return a choice's text; a number the way it stood in the JSON (seen from Workers AI)."""
    if text is None:
        return ""
    return text if isinstance(text, str) else encode(text).decode()


def seconds_of(raw: msgspec.Raw) -> int:
    """Return when a reply was made, in Unix seconds; 0 when it does not say, or says nonsense."""
    try:
        return int(_decode_number(raw))
    except UNREADABLE:
        return 0
