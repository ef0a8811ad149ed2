"""The caller's end of a reply: canonical events become a Responses stream or a whole object.

In: events, in the order of `core.events`. Out: every event that Responses has for them, numbered,
or the final object. Only the first choice is told: Responses has no others. Must not price
anything.
"""

from collections.abc import Sequence
from typing import Any

from groxy.core.errors import GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame
from groxy.dialects.responses.output import (
    COMPLETED,
    INCOMPLETE,
    CallItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
)
from groxy.dialects.responses.reply import blank_reply, failed_reply, wants_sealed
from groxy.dialects.responses.sending import LAST, EventWriter
from groxy.dialects.responses.tools import offering_of
from groxy.dialects.responses.usage import written_usage
from groxy.wire.json import encode

_REASONS = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}


class ResponsesEncoder:
    """Writes one reply; see `dialects._base.ReplyEncoder`."""

    def __init__(self, asked: Asked, frame: Frame) -> None:
        self.record = b""
        self._asked = asked
        self._frame = frame
        self._writer = EventWriter()
        self._reply = blank_reply(asked, frame)
        self._with_sealed = wants_sealed(asked)
        self._offering = offering_of(asked.fields)
        self._items: list[OutputItem] = []
        self._calls: dict[int, CallItem] = {}
        self._message: MessageItem | None = None
        self._thoughts: ReasoningItem | None = None
        self._said = 0
        self._has_begun = False
        self._reason = FinishReason.STOP

    def feed(self, event: Event) -> bytes:
        """Return the bytes of one event."""
        match event:
            case Started():
                return self._begun(event.model_served)
            case UsageReported() | Failed():
                return b""
            case _ if event.choice != 0:
                return b""
            case Finished():
                self._reason = event.reason
                return b""
            case _:
                return self._begun() + self._taken(event)

    def finish(self, usage: Usage) -> bytes:
        """Return the end of a stream that went well."""
        reason = _REASONS.get(self._reason)
        status = INCOMPLETE if reason else COMPLETED
        written = self._begun() + self._closed(status)
        self._reply |= {"status": status, "output": self._output(with_sealed=self._with_sealed)}
        if reason:
            self._reply["incomplete_details"] = {"reason": reason}
        else:
            self._reply["completed_at"] = self._frame.created
        self._reply["usage"] = written_usage(usage, self._frame.counting)
        self.record = encode({"response": self._reply, "output": self._output(with_sealed=True)})
        return written + self._writer.write(f"response.{status}", {"response": self._reply}) + LAST

    def fail(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off, with what was written so far in it."""
        written = self._begun()
        reply = failed_reply(self._reply, error)
        reply["output"] = self._output(with_sealed=self._with_sealed)
        return written + self._writer.write("response.failed", {"response": reply}) + LAST

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """Return the object that `events` make, the same that ends their stream."""
        self._writer.is_silent = True
        for event in events:
            self.feed(event)
        self.finish(usage)
        return encode(self._reply)

    def _begun(self, model: str = "") -> bytes:
        """Return the events that open the stream, once."""
        if self._has_begun:
            return b""
        self._has_begun = True
        if model:
            self._reply["model"] = model
        return b"".join(
            self._writer.write(f"response.{kind}", {"response": self._reply})
            for kind in ("created", "in_progress")
        )

    def _taken(
        self, event: TextDelta | ReasoningDelta | ReasoningSealed | Cited | ToolCallDelta
    ) -> bytes:
        match event:
            case TextDelta():
                return self._text(event.text) if event.text else b""
            case ReasoningDelta():
                if not event.text:
                    return b""
                opening, thoughts = self._thinking()
                return opening + thoughts.add(event.text)
            case ReasoningSealed():
                opening, thoughts = self._thinking()
                thoughts.sealed = event.encrypted
                return opening + self._closed(COMPLETED)
            case Cited():
                return self._message.cite(event) if self._message else b""
            case ToolCallDelta():
                return self._call(event)

    def _text(self, text: str) -> bytes:
        opening = b""
        message = self._message
        if message is None or not message.is_open:
            opening = self._closed(COMPLETED)
            message = MessageItem(self._writer, *self._place("msg_"), self._said)
            self._items.append(message)
            self._message = message
            opening += message.opened()
        self._said += len(text)
        return opening + message.add(text)

    def _thinking(self) -> tuple[bytes, ReasoningItem]:
        thoughts = self._thoughts
        if thoughts is not None and thoughts.is_open:
            return b"", thoughts
        opening = self._closed(COMPLETED)
        thoughts = self._thoughts = ReasoningItem(self._writer, *self._place("rs_"))
        self._items.append(thoughts)
        return opening + thoughts.opened(), thoughts

    def _call(self, event: ToolCallDelta) -> bytes:
        call = self._calls.get(event.index)
        if call is not None:
            return call.add(event.arguments) if call.is_open else b""
        opening = self._closed(COMPLETED, only_whole_calls=True)
        offered = self._offering.changed(event.name)
        prefix = "ctc_" if offered and offered.is_custom else "fc_"
        item_id, at = self._place(prefix)
        call = self._calls[event.index] = CallItem(
            self._writer,
            item_id,
            at,
            call_id=event.call_id or "call_" + item_id.removeprefix(prefix),
            name=event.name,
            offered=offered,
        )
        self._items.append(call)
        return opening + call.opened() + call.add(event.arguments)

    def _place(self, prefix: str) -> tuple[str, int]:
        """Return the id and the place of the next item."""
        at = len(self._items)
        return f"{prefix}{self._frame.reply_id}{at}", at

    def _closed(self, status: str, *, only_whole_calls: bool = False) -> bytes:
        """Close what is open; calls that may still grow stay so when `only_whole_calls`.

        Only the last item can be an incomplete one.
        """
        last = self._items[-1] if self._items else None
        return b"".join(
            item.closed(status if item is last else COMPLETED, with_sealed=self._with_sealed)
            for item in self._items
            if item.is_open
            and not (only_whole_calls and isinstance(item, CallItem) and not item.is_whole)
        )

    def _output(self, *, with_sealed: bool) -> list[dict[str, Any]]:
        return [item.written(INCOMPLETE, with_sealed=with_sealed) for item in self._items]
