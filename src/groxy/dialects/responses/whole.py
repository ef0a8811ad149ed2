"""Whole replies, same dialect on both sides: passed on with what only the gateway knows."""

from typing import Any

from msgspec import Raw

from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame, Tally, UsageRules
from groxy.dialects.responses import reading
from groxy.dialects.responses.reply import blank_reply, mended_reply
from groxy.dialects.responses.returned import returned_item
from groxy.dialects.responses.tools import offering_of
from groxy.dialects.responses.usage import read_usage, written_usage
from groxy.wire.json import encode


class ResponsesReply:
    """One whole reply; see `dialects._base.WholeReply`."""

    def __init__(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> None:
        self._reply, _ = reading.read_body(body)
        self._body = body
        self._asked = asked
        self._rules = rules
        self._frame = frame
        self.record = b""
        self.tally = Tally(
            reply_id=self._reply.id or "", model_served=self._reply.model or "", has_output=True
        )
        for raw in self._reply.output or ():
            note_item(reading.read_item(raw), self.tally)
        self.tally.finish_reason = finish_reason(self._reply, self.tally)

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        raw = self._reply.usage
        return read_usage(raw, self._rules) if raw else None

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        offering = offering_of(self._asked.fields)
        output = [returned_item(raw, offering) for raw in self._reply.output or ()]
        blank = blank_reply(self._asked, self._frame)
        reply: dict[str, Any] = mended_reply(blank, Raw(self._body))
        reply["status"] = "incomplete" if self._reply.is_incomplete else "completed"
        reply["output"] = output
        reply["usage"] = written_usage(usage, self._frame.counting, self._reply.usage)
        self.record = encode({"response": reply, "output": output})
        return encode(reply)


def note_item(item: reading.OutputItem, tally: Tally) -> None:
    """Take an output item into the tally, text included."""
    if item.type == "message":
        tally.output.append(item.said)
    elif item.type == "reasoning":
        tally.output.append(item.thoughts)
    elif item.type == "function_call":
        tally.output.append(item.arguments or "")
    note_marks(item, tally)


def note_marks(item: reading.OutputItem, tally: Tally) -> None:
    """Take what a finished item says of calls and sealed thoughts into the tally."""
    if item.type == "reasoning" and item.encrypted_content:
        tally.sealed.append(item.encrypted_content)
    if item.type == "function_call":
        tally.called.append(item.name or "")
        tally.output.append(item.name or "")
        if item.call_id:
            tally.call_ids.append(item.call_id)


def finish_reason(reply: reading.Reply, tally: Tally) -> str:
    """Return why a reply ended, in the words of the books."""
    if reply.is_incomplete:
        return "content_filter" if reply.is_filtered else "length"
    return "tool_calls" if tally.called else "stop"
