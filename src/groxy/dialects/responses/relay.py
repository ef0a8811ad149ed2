"""Responses streams, same dialect on both sides: relay each event, mend what the gateway changed.

In: an upstream's bytes, split anywhere. Out: bytes for the caller. Deltas, the bulk of a stream,
are passed on as they came. Mended are: events with the reply object (our id, and what the caller
asked where the gateway sent something else), missing sequence numbers, `logprobs` and opening
events, custom tools that went upstream as functions. `event:` always says the type. The terminal
event is held back for `finish`. Must not talk to anyone and must not price anything.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, EmbeddedError, Frame, Tally, UsageRules
from groxy.dialects.responses import reading
from groxy.dialects.responses.drafts import Drafts
from groxy.dialects.responses.replay import events_of
from groxy.dialects.responses.reply import blank_reply, failed_reply, mended_reply
from groxy.dialects.responses.returned import changed_by, returned_event, returned_item
from groxy.dialects.responses.sending import LAST, framed
from groxy.dialects.responses.tools import offering_of
from groxy.dialects.responses.usage import read_usage, written_usage
from groxy.dialects.responses.whole import finish_reason, note_item, note_marks
from groxy.wire.json import UNREADABLE, Fields, decode_any, decode_fields, encode
from groxy.wire.sse import DONE, SseEvent, SseReader

_TEXT_DELTA = "response.output_text.delta"
_ARGUMENTS = "response.function_call_arguments."
_NEEDS_LOGPROBS = frozenset({_TEXT_DELTA, "response.output_text.done"})
_COUNTED = frozenset(
    {
        _TEXT_DELTA,
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
    }
)
_JUST_BEGUN: dict[str, Any] = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "completed_at": None,
}
_CUT = {"incomplete_details": {"reason": "max_output_tokens"}}
_MAX_NUMBER = 2**53
"""Numbers beyond it are not exact in JavaScript."""
_KIND = re.compile(r"[a-z0-9_.:-]{1,100}", re.IGNORECASE)


class ResponsesRelay:
    """One streamed reply on its way to the caller; see `dialects._base.StreamRelay`."""

    def __init__(self, asked: Asked, rules: UsageRules, frame: Frame) -> None:
        self.tally = Tally()
        self.failure: Exception | None = None
        self.record = b""
        self._rules = rules
        self._frame = frame
        self._blank = blank_reply(asked, frame)
        self._reply = self._blank
        """The reply object as far as the upstream told it."""
        self._offering = offering_of(asked.fields)
        self._sse = SseReader()
        self._has_begun = False
        self._next = 0
        """The number of the next event, unless the upstream's is greater."""
        self._output: list[Raw] = []
        self._custom: set[object] = set()
        """Where the items are that go back as custom tools."""
        self._told: set[object] = set()
        """Where the items are whose text came in deltas."""
        self._terminal: reading.Reply | None = None
        self._end = reading.Event()
        """The terminal event, which waits for `finish`."""
        self._usage_raw = Raw(b"")
        self._is_done = False
        self._drafts = Drafts()

    @property
    def is_complete(self) -> bool:
        """True once the terminal event came, or it was cut."""
        return self.failure is None and self._terminal is not None

    @property
    def is_done(self) -> bool:
        """True once nothing that follows matters."""
        return self._is_done or self._terminal is not None or self.failure is not None

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` has for the caller."""
        if self.is_done:
            return b""
        try:
            events = self._sse.feed(chunk)
        except GroxyError as error:
            self.failure = error
            return b""
        return self._relay(events)

    def close(self) -> bytes:
        """Return what the end of the upstream's stream has for the caller."""
        if self.is_done:
            return b""
        passed = self._relay(self._sse.close())
        if isinstance(self.failure, GroxyError):
            # Half an event: the cut itself is what went wrong, not how the half reads.
            self.failure = None
        return passed

    def feed_whole(self, body: bytes) -> bytes:
        """Return a reply that came whole as a stream."""
        try:
            _, reply = reading.read_body(body)
        except (EmbeddedError, GroxyError) as error:
            self.failure = error
            return b""
        return self._relay([(b"", encode(data)) for data in events_of(reply)])

    def reported_usage(self) -> Usage | None:
        """Return the last usage the upstream reported, if it makes sense."""
        return read_usage(self._usage_raw, self._rules) if self._usage_raw else None

    def finish(self, usage: Usage) -> bytes:
        """Return the terminal event, with `usage` in it, and `[DONE]`."""
        terminal = self._terminal or reading.Reply(status="completed")
        reply = mended_reply(self._blank, self._end.response)
        output = [returned_item(raw, self._offering) for raw in terminal.output or ()]
        reply["status"] = terminal.status
        reply["output"] = output or self._output
        reply["usage"] = written_usage(usage, self._frame.counting, self._usage_raw)
        self.record = encode({"response": reply, "output": reply["output"]})
        return self._own(f"response.{terminal.status}", reply, self._end) + LAST

    def cut(self) -> bytes:
        """End the reply for its length: return the ends of its open parts and items."""
        if self._terminal is not None or self.failure is not None:
            return b""
        self._is_done = False  # `[DONE]` without an end is none.
        opening = b"" if self._has_begun else self._opening()
        ends = self._relay(self._drafts.ends())
        self._end = reading.Event(response=Raw(encode(self._reply | _CUT)))
        self._terminal = reading.Reply(status="incomplete")
        self.tally.finish_reason = "length"
        return opening + ends

    def fail(self, error: GroxyError) -> bytes:
        """Return `response.failed` with what is known, and `[DONE]`."""
        opening = b"" if self._has_begun else self._opening()
        reply = failed_reply(self._reply, error) | {"output": self._output}
        return opening + self._own("response.failed", reply) + LAST

    def _relay(self, events: list[SseEvent]) -> bytes:
        passed: list[bytes] = []
        for name, data in events:
            if data.startswith(DONE):
                self._is_done = True
                break
            try:
                passed.append(self._take(name, data))
            except (EmbeddedError, GroxyError) as error:
                # What came before it in the same chunk still goes to the caller.
                self.failure = error
            if self.is_done:
                break
        return b"".join(passed)

    def _take(self, name: bytes, data: bytes) -> bytes:
        """Read one event; return what of it goes to the caller, mended where needed."""
        event = reading.read_event(name, data)
        kind = event.type
        if kind in reading.LIFECYCLE:
            return self._take_reply(kind, event)
        if not _KIND.fullmatch(kind):
            return b""
        opening = b"" if self._has_begun else self._opening()
        self._drafts.take(kind, event)
        if kind in _COUNTED:
            fragment = event.fragment
            if fragment:
                self.tally.output.append(fragment)
                self.tally.has_output = True
                self._told.add(event.place)
            if kind in _NEEDS_LOGPROBS or not self._custom:
                return opening + self._passed(event, kind, data)
        elif kind.startswith("response.output_item."):
            return opening + self._take_item(event, kind, data)
        if self._custom and kind.startswith(_ARGUMENTS) and event.place in self._custom:
            return opening + self._custom_input(event, kind, data)
        return opening + self._passed(event, kind, data)

    def _take_reply(self, kind: str, event: reading.Event) -> bytes:
        reply = reading.read_reply(event.response)
        self.tally.reply_id = self.tally.reply_id or reply.id or ""
        self.tally.model_served = reply.model or self.tally.model_served
        if bytes(reply.usage) not in (b"", b"null"):
            self._usage_raw = reply.usage
        told = mended_reply(self._blank, event.response)
        if kind not in reading.TERMINAL:
            self._reply = told | _JUST_BEGUN
            opening = b"" if self._has_begun else self._opening(kind)
            return opening + self._own(kind, self._reply | {"status": told["status"]}, event)
        if not self._has_begun:
            self._reply = told | _JUST_BEGUN
        return self._take_terminal(kind, event, reply)

    def _take_terminal(self, kind: str, event: reading.Event, reply: reading.Reply) -> bytes:
        """Hold the end back; return what should have come before it and did not."""
        opening = b"" if self._has_begun else self._opening()
        if reply.output and not (self._output or self.tally.output):
            _, *between, _ = self._replayed(event.response)
            opening += b"".join(self._take(b"", data) for data in between)
        reply.status = "incomplete" if reply.is_incomplete else reading.TERMINAL[kind]
        self._terminal, self._end = reply, event
        self.tally.has_output = True
        self.tally.finish_reason = finish_reason(reply, self.tally)
        return opening

    def _replayed(self, raw: Raw) -> list[bytes]:
        """Return a reply's events, but for the one that says it is under way."""
        try:
            events = list(events_of(decode_any(raw)))
        except UNREADABLE as error:
            raise reading.garbage(error) from None
        return [encode(data) for data in events if data["type"] != "response.in_progress"]

    def _opening(self, coming: str = "") -> bytes:
        """Return the opening events that the upstream left out, before those that come now."""
        self._has_begun = True
        if coming == "response.created":
            return b""
        missing = ["response.created"] if coming else ["response.created", "response.in_progress"]
        return b"".join(self._own(kind, self._reply) for kind in missing)

    def _take_item(self, event: reading.Event, kind: str, data: bytes) -> bytes:
        is_done = kind == "response.output_item.done"
        item = reading.read_item(event.item)
        if item.type == "function_call":
            self.tally.has_output = True
        (self._drafts.end if is_done else self._drafts.begin)(event)
        if is_done:
            note = note_marks if event.place in self._told else note_item
            note(item, self.tally)
            self.tally.has_output |= bool(item.said)
            if bytes(event.item)[:1] == b"{":
                self._output.append(returned_item(event.item, self._offering))
        offered = changed_by(event.item, self._offering)
        if offered is None:
            return self._passed(event, kind, data)
        if offered.is_custom:
            self._custom |= {event.place, item.id}
        fields = self._fields(data) | {"item": returned_item(event.item, self._offering)}
        return self._rewritten(kind, fields, self._numbered(event.sequence_number))

    def _custom_input(self, event: reading.Event, kind: str, data: bytes) -> bytes:
        fields = self._fields(data)
        changed = returned_event(kind, {**fields, "arguments": event.arguments})
        if changed is None:
            return b""
        kind, written = changed
        delta = "response.custom_tool_call_input.delta"
        whole = {name: value for name, value in written.items() if name != "input"}
        whole["delta"] = written["input"]
        told = self._rewritten(delta, whole, self._numbered(None))
        return told + self._rewritten(kind, written, self._numbered(event.sequence_number))

    def _passed(self, event: reading.Event, kind: str, data: bytes) -> bytes:
        """Return an event as it came, but for what every client relies on."""
        if b"\n" in data:
            data = data.replace(b"\n", b" ")  # Between tokens; inside text it would be escaped.
        if kind in _NEEDS_LOGPROBS and b'"logprobs"' not in data:
            data = b'{"logprobs":[],' + data.lstrip()[1:]
        number = event.sequence_number
        at = self._numbered(number)
        if at == number and event.has_type:
            return framed(kind, data)
        return self._rewritten(kind, self._fields(data), at)

    def _rewritten(self, kind: str, fields: Mapping[str, Any], number: int) -> bytes:
        return framed(kind, encode({**fields, "type": kind, "sequence_number": number}))

    def _numbered(self, number: object) -> int:
        """Return the number that an event gets: its own, unless ours have run ahead of it."""
        at = self._next
        if type(number) is int and at < number < _MAX_NUMBER:
            at = number
        self._next = at + 1
        return at

    def _own(self, kind: str, reply: dict[str, Any], event: reading.Event | None = None) -> bytes:
        number = self._numbered(event.sequence_number if event is not None else None)
        return self._rewritten(kind, {"response": reply}, number)

    @staticmethod
    def _fields(data: bytes) -> Fields:
        try:
            return decode_fields(data)
        except UNREADABLE as error:
            raise reading.garbage(error) from None
