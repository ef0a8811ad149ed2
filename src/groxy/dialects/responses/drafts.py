"""Output items whose end has not come: what is known of them, so that a reply can end among them.

In: an upstream's events, as they pass. Out: the events that end what is open, as an upstream would
have sent them, without numbers. Must not fail on events in any order, and must not write bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from msgspec import Raw

from groxy.dialects.responses.reading import Event, read_item
from groxy.wire.json import UNREADABLE, Fields, decode_any, decode_fields, encode

Data = dict[str, Any]

_INCOMPLETE = "incomplete"
_NEVER_INCOMPLETE = "image_generation_call"
"""Such an item can fail, but it has no status of that name (OpenAI's API reference, 2026)."""


class _Step(Enum):
    GROWS = "grows"
    TEXT_ENDS = "text ends"
    BEGINS = "begins"
    ENDS = "ends"
    CITES = "cites"


_CONTENT, _SUMMARY, _WHOLE = "content_index", "summary_index", ""
"""Where a piece of an item stands; a call has one piece, without an index."""
_TEXTS = {
    # The name of its events, and the field that its text has in the event that ends it.
    "output_text": ("output_text", "text", _CONTENT),
    "refusal": ("refusal", "refusal", _CONTENT),
    "reasoning_text": ("reasoning_text", "text", _CONTENT),
    "summary_text": ("reasoning_summary_text", "text", _SUMMARY),
    "arguments": ("function_call_arguments", "arguments", _WHOLE),
    "input": ("custom_tool_call_input", "input", _WHOLE),
}
_PARTS = {
    "response.content_part": _CONTENT,
    "response.reasoning_summary_part": _SUMMARY,
}
_STEPS: dict[str, tuple[_Step, str, str]] = {
    "response.output_text.annotation.added": (_Step.CITES, _CONTENT, "output_text"),
    **{f"response.{name}.delta": (_Step.GROWS, at, kind) for kind, (name, _, at) in _TEXTS.items()},
    **{
        f"response.{name}.done": (_Step.TEXT_ENDS, at, kind)
        for kind, (name, _, at) in _TEXTS.items()
    },
    **{f"{name}.added": (_Step.BEGINS, at, "") for name, at in _PARTS.items()},
    **{f"{name}.done": (_Step.ENDS, at, "") for name, at in _PARTS.items()},
}
_PART_EVENTS = {at: name for name, at in _PARTS.items()}


@dataclass(slots=True)
class _Piece:
    """A part of an item, or the arguments of a call."""

    kind: str
    where: str
    index: int
    texts: list[str] = field(default_factory=list)
    cited: list[Raw] = field(default_factory=list)
    is_part: bool = False
    """True when an event said that it begins, so that one has to say that it ends."""
    has_text_ended: bool = False
    ended: Raw | None = None
    """The part as the upstream ended it."""

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def take(self, step: _Step, event: Event) -> None:
        match step:
            case _Step.GROWS:
                self.texts.append(event.fragment)
            case _Step.TEXT_ENDS:
                self.has_text_ended = True
                whole = getattr(event, _TEXTS[self.kind][1])
                if isinstance(whole, str):
                    self.texts = [whole]
            case _Step.BEGINS:
                self.is_part = True
                self.kind = _kind_of(event.part) or self.kind
            case _Step.ENDS:
                self.ended = event.part
            case _Step.CITES:
                self.cited.append(event.annotation)

    def written(self) -> object:
        """Return the part as it stands."""
        if self.ended:
            return self.ended
        part: Data = {"type": self.kind, _TEXTS[self.kind][1]: self.text}
        return part | {"annotations": self.cited, "logprobs": []} if self.is_answer else part

    @property
    def is_answer(self) -> bool:
        return self.kind == "output_text"

    def ends(self, item: Data) -> Iterator[Data]:
        """Yield the events that end it; `item` says of which item it is."""
        at = item | ({self.where: self.index} if self.where else {})
        name, text_field, _ = _TEXTS[self.kind]
        if not self.has_text_ended:
            done: Data = {"type": f"response.{name}.done", text_field: self.text, **at}
            yield done | {"logprobs": []} if self.is_answer else done
        if self.is_part:
            yield {"type": f"{_PART_EVENTS[self.where]}.done", "part": self.written(), **at}


class _Draft:
    """An item that was begun."""

    def __init__(self, event: Event, fields: Fields) -> None:
        self.item = read_item(event.item)
        self._index = event.output_index
        self._fields = fields
        self._pieces: dict[tuple[str, int], _Piece] = {}
        if self.item.type == "function_call":
            self._pieces[_WHOLE, 0] = _Piece("arguments", _WHOLE, 0)

    def take(self, step: _Step, where: str, kind: str, event: Event) -> _Piece:
        index = getattr(event, where) if where else 0
        index = index if type(index) is int else 0
        piece = self._pieces.get((where, index))
        if piece is None:
            kind = kind or ("summary_text" if where == _SUMMARY else "output_text")
            piece = self._pieces[where, index] = _Piece(kind, where, index)
        elif kind:
            piece.kind = kind
        piece.take(step, event)
        return piece

    def ends(self) -> Iterator[Data]:
        """Yield the events that end what of it is open, and then itself."""
        at: Data = {"item_id": self.item.id, "output_index": self._index}
        for piece in self._pieces.values():
            if piece.ended is not None:
                continue
            extra: Data = {}
            if piece.kind == "arguments":
                extra = {"name": self.item.name}
                if not piece.text.strip():
                    # Clients read arguments as JSON, and nothing is none.
                    piece.texts = ["{}"]
                    delta = "response.function_call_arguments.delta"
                    yield {"type": delta, "delta": "{}", **at}
            for data in piece.ends(at):
                yield data | extra
        item = {"type": "response.output_item.done", "output_index": self._index}
        yield item | {"item": self._written()}

    def _written(self) -> Data:
        item: Data = dict(self._fields)
        lists: dict[str, list[object]] = {}
        for piece in self._pieces.values():
            if piece.where:
                lists.setdefault(piece.where.removesuffix("_index"), []).append(piece.written())
            else:
                item[piece.kind] = piece.text
        is_failed = self.item.type == _NEVER_INCOMPLETE
        return item | lists | {"status": "failed" if is_failed else _INCOMPLETE}


class Drafts:
    """All items of a reply that are open."""

    def __init__(self) -> None:
        self._open: dict[object, _Draft] = {}
        self._growing: tuple[str, object, object, object] | None = None
        """Which delta the last one was, where more of the same piece are to come."""
        self._texts: list[str] = []
        """What that piece has so far."""

    def begin(self, event: Event) -> None:
        """Take in an item that begins."""
        try:
            fields = decode_fields(event.item)
        except UNREADABLE:
            return
        self._growing = None
        draft = _Draft(event, fields)
        self._open[_place(event, draft.item.id)] = draft

    def end(self, event: Event) -> None:
        """Forget an item that ended by itself."""
        self._growing = None
        self._open.pop(_place(event, read_item(event.item).id), None)

    def take(self, kind: str, event: Event) -> None:
        """Take in what an event says of an item's parts."""
        place = event.output_index
        this = (kind, place, event.content_index, event.summary_index)
        if this == self._growing:  # As nearly all are.
            self._texts.append(event.fragment)
            return
        self._growing = None
        step = _STEPS.get(kind)
        draft = self._open.get(event.place) if step is not None else None
        if step is None or draft is None:
            return
        piece = draft.take(*step, event)
        if step[0] is _Step.GROWS and type(place) is int:
            self._growing, self._texts = this, piece.texts

    def ends(self) -> list[tuple[bytes, bytes]]:
        """Return the events that end everything that is open, as they would have come."""
        return [(b"", encode(data)) for draft in self._open.values() for data in draft.ends()]


def _place(event: Event, item_id: str | None) -> object:
    place = event.place
    return item_id if place is None else place


def _kind_of(raw: Raw) -> str:
    """Return the type of a part, where it is one that is known here."""
    try:
        kind = decode_any(raw)["type"]
    except (*UNREADABLE, KeyError, TypeError):
        return ""
    return kind if kind in _TEXTS and _TEXTS[kind][2] else ""
