"""Half characters in an upstream's events: put together again, or made U+FFFD.

In: an event that could not be read, and all behind it while half a character is held. Out: the
same event without lone surrogates. Must not make anything else readable than those.

JSON's grammar allows a surrogate alone when it is escaped (RFC 8259, 8.2), and JSON.stringify
writes one wherever JavaScript cut a text by UTF-16 units (ES2019), as inside an emoji; msgspec
refuses it. The other half then begins the next delta.

Each lone half is marked first: an escape 0x800 higher, which can be read, and which is a mark for
certain, because real characters of that range are written out.
"""

import re

import msgspec

from groxy.wire.json import UNREADABLE, Fields, decode_fields, encode

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_HEAD = ("id", "object", "created", "model")
_NULL = b"null"
_NOTHING = (b"", _NULL, b'""', b"[]")
_LONE = "\ufffd"
_UP = 0x800
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u([\da-fA-F]{4})|.)", re.DOTALL
)
_MARK = re.compile(
    rb"\\(?:u(e[0-3][\da-f]{2})\\u(e[4-7][\da-f]{2})|u(e[0-7][\da-f]{2})|.)", re.DOTALL
)
_ENDS_IN_HALF = re.compile(rb'(?<!\\)(?:\\\\)*(\\ue[0-3][\da-f]{2})"\Z')
_decode_objects = msgspec.json.Decoder(list[Fields]).decode

Place = tuple[bytes, str, bytes]
"""A text that goes on over events: its choice, its field, its call."""


class Halves:
    """The halves of one stream."""

    def __init__(self) -> None:
        self.held: dict[Place, bytes] = {}
        """The marked half that a text ended in; while there is any, each event has to be mended."""
        self._head: Fields = {}

    def mended(self, data: bytes) -> bytes:
        """Return an event without lone halves; the one that ends a text is held."""
        marked = _ESCAPE.sub(_marked, data)
        try:
            event = decode_fields(marked)
            choices = _decode_objects(event["choices"])
            for choice in choices:
                self._mend(choice)
            self._head = {name: event[name] for name in _HEAD if name in event}
            marked = encode(event | {"choices": choices})
        except (KeyError, *UNREADABLE):
            pass  # It has no choices, or is garbage still: whoever reads it will tell.
        return _MARK.sub(_unmarked, marked)

    def rest(self) -> bytes:
        """Return an event with what no other half came for; empty when there is nothing."""
        choices = [
            {"index": msgspec.Raw(index), "delta": {name: _LONE}, "finish_reason": None}
            for index, name, _ in self.held
            if name in _TEXTS  # A call that ends inside a character is broken anyway.
        ]
        self.held.clear()
        return encode(self._head | {"choices": choices}) if choices else b""

    def _mend(self, choice: Fields) -> None:
        index = bytes(choice.get("index", b"0"))
        has_ended = bytes(choice.get("finish_reason", _NULL)) not in _NOTHING
        raw = choice.get("delta", _NULL)
        delta = {} if bytes(raw) == _NULL else decode_fields(raw)
        speaks = any(_is_there(delta, name) for name in (*_TEXTS, "tool_calls"))
        goes_on = [name for name in _TEXTS if _is_there(delta, name)] if speaks else _TEXTS
        for name in _TEXTS:
            may_hold = not has_ended and name in goes_on
            self._join(delta, name, (index, name, b""), may_hold=may_hold)
        if _is_there(delta, "tool_calls"):
            calls = _decode_objects(delta["tool_calls"])
            for call in calls:
                self._mend_call(call, index, may_hold=not has_ended)
            delta["tool_calls"] = msgspec.Raw(encode(calls))
        choice["delta"] = msgspec.Raw(encode(delta))

    def _mend_call(self, call: Fields, choice: bytes, *, may_hold: bool) -> None:
        if not _is_there(call, "function"):
            return
        function = decode_fields(call["function"])
        place = (choice, "arguments", bytes(call.get("index", b"")))
        self._join(function, "arguments", place, may_hold=may_hold)
        call["function"] = msgspec.Raw(encode(function))

    def _join(self, fields: Fields, name: str, place: Place, *, may_hold: bool) -> None:
        """Put what is held before a text; hold the half that it ends in."""
        text = bytes(fields.get(name, _NULL))
        if may_hold and text in _NOTHING:
            return
        held = self.held.pop(place, b"")
        if held and text == _NULL:
            text = b'""'
        if text[:1] != b'"':
            return  # A number, or nothing at all.
        text = b'"' + held + text[1:]
        half = _ENDS_IN_HALF.search(text) if may_hold else None
        if half is not None:
            self.held[place] = half[1]
            text = text[: half.start(1)] + b'"'
        fields[name] = msgspec.Raw(text)


def may_have_halves(data: bytes) -> bool:
    """True when an event that could not be read may be at fault for a half."""
    return b"\\ud" in data or b"\\uD" in data


def without_halves(body: bytes) -> bytes:
    """Return a whole body with U+FFFD for each lone half: nothing comes that completes it."""
    if not may_have_halves(body):
        return body
    return _MARK.sub(_unmarked, _ESCAPE.sub(_marked, body))


def _is_there(fields: Fields, name: str) -> bool:
    return bytes(fields.get(name, b"")) not in _NOTHING


def _marked(escape: re.Match[bytes]) -> bytes:
    code = int(escape[1] or b"0", 16)
    if 0xD800 <= code < 0xE000:
        return b"\\u%04x" % (code + _UP)
    return chr(code).encode() if 0xE000 <= code < 0xE000 + _UP else escape[0]


def _unmarked(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return b"\\u%04x\\u%04x" % (int(escape[1], 16) - _UP, int(escape[2], 16) - _UP)
    return b"\\ufffd" if escape[3] else escape[0]
