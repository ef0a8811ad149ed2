"""The upstream's end of a reply: a Responses stream, or a whole object, becomes canonical events.

In: an upstream's bytes, split anywhere. Out: events. Tolerant: text that comes only when its item
is done, or only in the terminal event, is still told, once. Records of hosted tools are left out.
Must not raise on anything that an upstream sends.
"""

import msgspec
from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.dialects._base import EmbeddedError, UsageRules
from groxy.dialects.responses import reading
from groxy.dialects.responses.replay import events_of
from groxy.dialects.responses.usage import read_usage
from groxy.wire.json import UNREADABLE, encode
from groxy.wire.sse import DONE, SseEvent, SseReader

_TEXT_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_TEXT_DONE = frozenset({"response.output_text.done", "response.refusal.done"})
_THOUGHT_DELTAS = frozenset(
    {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
)


class _Citation(msgspec.Struct):
    type: str = ""
    url: str = ""
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


_citation_decoder = msgspec.json.Decoder(_Citation)


class _Progress:
    """What was told of one output item."""

    def __init__(self, base: int) -> None:
        self.base = base
        """Characters of the answer before it."""
        self.pieces: list[str] = []
        self.thought_kind = ""
        self.summary_index: object = None
        self.call_index = -1
        self.cited = 0
        self.is_done = False

    def rest_of(self, whole: str) -> str:
        """Return what of `whole` was not told yet; nothing when it does not go on from that."""
        told = "".join(self.pieces)
        return whole[len(told) :] if whole.startswith(told) else ""


class ResponsesDecoder:
    """Reads one reply; see `dialects._base.ReplyDecoder`."""

    def __init__(self, rules: UsageRules) -> None:
        self.failure: Exception | None = None
        self._rules = rules
        self._sse = SseReader()
        self._items: dict[object, _Progress] = {}
        self._places: dict[str | None, object] = {}
        """Where the items are, by their ids."""
        self._has_started = False
        self._has_ended = False
        self._is_done = False
        self._calls = 0
        self._said = 0

    @property
    def is_complete(self) -> bool:
        """True once the reply came to its proper end."""
        return self.failure is None and self._has_ended

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        return self._is_done or self._has_ended or self.failure is not None

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes."""
        if self.is_done:
            return []
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure = error
            return []
        return self._read(events)

    def feed_whole(self, body: bytes) -> list[Event]:
        """Return the events of a whole reply."""
        try:
            _, reply = reading.read_body(body)
            return self._read([(b"", encode(data)) for data in events_of(reply)])
        except (EmbeddedError, GroxyError) as error:
            self.failure = error
            return []

    def close(self) -> list[Event]:
        """Return the events that the end of the stream completes."""
        if self.is_done:
            return []
        told = self._read(self._sse.close())
        if isinstance(self.failure, GroxyError):
            # Half an event: the cut itself is what went wrong, not how the half reads.
            self.failure = None
        return told

    def _read(self, events: list[SseEvent]) -> list[Event]:
        told: list[Event] = []
        for name, data in events:
            if data.startswith(DONE):
                self._is_done = True
                break
            try:
                self._take(reading.read_event(name, data), told)
            except (EmbeddedError, GroxyError) as error:
                # What came before it still counts.
                self.failure = error
            if self.is_done:
                break
        return told

    def _take(self, event: reading.Event, told: list[Event]) -> None:
        kind = event.type
        if kind in reading.LIFECYCLE:
            self._take_reply(kind, reading.read_reply(event.response), told)
            return
        if not self._has_started:
            self._start(reading.Reply(), told)
        place = self._place(event)
        if kind == "response.output_item.added":
            self._open(place, reading.read_item(event.item), told)
        elif kind == "response.output_item.done":
            self._end_item(place, reading.read_item(event.item), told)
        else:
            self._take_piece(event, self._progress(place), told)

    def _take_piece(self, event: reading.Event, progress: _Progress, told: list[Event]) -> None:
        kind = event.type
        if kind in _TEXT_DELTAS:
            self._tell_text(progress, event.fragment, told)
        elif kind in _THOUGHT_DELTAS:
            self._tell_thought(event, progress, told)
        elif kind == "response.function_call_arguments.delta":
            self._tell_arguments(progress, event.fragment, told)
        elif kind in _TEXT_DONE:
            whole = event.text if isinstance(event.text, str) else event.refusal
            if isinstance(whole, str) and not progress.pieces:
                self._tell_text(progress, whole, told)
        elif kind == "response.output_text.annotation.added":
            self._cite(progress, event.annotation, told)

    def _place(self, event: reading.Event) -> object:
        """Return where an event belongs: some upstreams tell the index, some the id, some both.

        The index is the better one: xAI's messages of one reply all have the reply's id.
        """
        item_id = event.item_id if isinstance(event.item_id, str) else None
        if item_id is None and event.item:
            item_id = reading.read_item(event.item).id
        index = event.output_index
        known = self._places.setdefault(item_id, index if type(index) is int else item_id)
        return index if type(index) is int and type(known) is int else known

    def _last_place(self, item: reading.OutputItem, index: int, ids: list[str | None]) -> object:
        """Return where an item of the whole output was told, if it was."""
        is_named = item.id is not None and ids.count(item.id) == 1
        return self._places.get(item.id, index) if is_named else index

    def _take_reply(self, kind: str, reply: reading.Reply, told: list[Event]) -> None:
        if not self._has_started:
            self._start(reply, told)
        status = reading.TERMINAL.get(kind)
        items = [reading.read_item(raw) for raw in reply.output or ()] if status else []
        ids = [item.id for item in items]
        for index, item in enumerate(items):
            self._end_item(self._last_place(item, index, ids), item, told)
        usage = read_usage(reply.usage, self._rules) if reply.usage else None
        if usage is not None:
            told.append(UsageReported(usage=usage))
        if status is None:
            return
        self._has_ended = True
        told.append(Finished(reason=self._reason(status, reply)))

    def _reason(self, status: str, reply: reading.Reply) -> FinishReason:
        if status == "incomplete" or reply.is_incomplete:
            return FinishReason.CONTENT_FILTER if reply.is_filtered else FinishReason.LENGTH
        return FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP

    def _start(self, reply: reading.Reply, told: list[Event]) -> None:
        self._has_started = True
        told.append(
            Started(
                reply_id=reply.id or "",
                model_served=reply.model or "",
                created=int(reply.created_at or 0),
            )
        )

    def _progress(self, place: object) -> _Progress:
        found = self._items.get(place)
        if found is None:
            found = self._items[place] = _Progress(self._said)
        return found

    def _tell_text(self, progress: _Progress, text: str, told: list[Event]) -> None:
        if text:
            progress.pieces.append(text)
            self._said += len(text)
            told.append(TextDelta(text=text))

    def _tell_thought(self, event: reading.Event, progress: _Progress, told: list[Event]) -> None:
        """Some upstreams tell thoughts both in full and summed up: the first of the two counts."""
        text = event.fragment
        if not text or progress.thought_kind not in ("", event.type):
            return
        if progress.pieces and event.summary_index != progress.summary_index:
            text = "\n\n" + text
        progress.thought_kind, progress.summary_index = event.type, event.summary_index
        progress.pieces.append(text)
        told.append(ReasoningDelta(text=text))

    def _open(self, place: object, item: reading.OutputItem, told: list[Event]) -> None:
        progress = self._progress(place)
        if item.type == "function_call" and progress.call_index < 0:
            progress.call_index = self._calls
            self._calls += 1
            told.append(
                ToolCallDelta(
                    index=progress.call_index,
                    arguments="",
                    call_id=item.call_id or item.id or "",
                    name=item.name or "",
                )
            )

    def _tell_arguments(self, progress: _Progress, text: str, told: list[Event]) -> None:
        if text and progress.call_index >= 0:
            progress.pieces.append(text)
            told.append(ToolCallDelta(index=progress.call_index, arguments=text))

    def _cite(self, progress: _Progress, raw: Raw, told: list[Event]) -> None:
        progress.cited += 1
        try:
            source = _citation_decoder.decode(raw)
        except UNREADABLE:
            return
        if source.type == "url_citation" and source.url:
            told.append(
                Cited(
                    url=source.url,
                    title=source.title or "",
                    start=progress.base + max(source.start_index or 0, 0),
                    end=progress.base + max(source.end_index or 0, 0),
                )
            )

    def _end_item(self, place: object, item: reading.OutputItem, told: list[Event]) -> None:
        """Tell what of an item was not told yet."""
        progress = self._progress(place)
        if progress.is_done:
            return
        progress.is_done = True
        if item.type == "message":
            self._tell_text(progress, progress.rest_of(item.said), told)
            found = [one for part in item.content or () for one in part.annotations or ()]
            for raw in found[progress.cited :]:
                self._cite(progress, raw, told)
        elif item.type == "reasoning":
            if item.thoughts and not progress.pieces:
                told.append(ReasoningDelta(text=item.thoughts))
            if item.encrypted_content:
                told.append(
                    ReasoningSealed(encrypted=item.encrypted_content, item_id=item.id or "")
                )
        elif item.type == "function_call":
            self._open(place, item, told)
            self._tell_arguments(progress, progress.rest_of(item.arguments or ""), told)
