"""Whole chat replies, same dialect on both sides: passed on as they are, or mended."""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _completion_usage as chat_usage
from groxy.dialects._base import Counting, EmbeddedError, Tally, UsageRules
from groxy.dialects._embedded import failure_in, is_there
from groxy.dialects.chat.chunks import Chunk
from groxy.dialects.chat.halves import without_halves
from groxy.dialects.chat.mend import (
    FINISH_REASONS,
    Choice,
    Delta,
    finish_reason_of,
    mended_message,
    text_of,
)
from groxy.wire.json import UNREADABLE, decode_any, encode

_decode = msgspec.json.Decoder(Chunk).decode


class ChatReply:
    """One whole reply; see `dialects._base.WholeReply`."""

    record = b""

    def __init__(
        self,
        body: bytes,
        rules: UsageRules,
        *,
        wants_cost: bool = False,
        counting: Counting = Counting.OPENAI,
    ) -> None:
        self._rules = rules
        self._wants_cost = wants_cost
        self._counting = counting
        self._reply, self._body = read_whole(body)
        self._needs_mending = False
        self.tally = Tally(reply_id=self._reply.id or "", model_served=self._reply.model or "")
        for choice in self._reply.choices or ():
            self._note(choice)

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        raw = self._reply.usage
        return chat_usage.read_usage(raw, self._rules) if raw else None

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        raw = self._reply.usage
        if not self._needs_mending and self._is_written_alike(usage, raw):
            return self._body
        try:
            reply = decode_any(self._body)
        except UNREADABLE:
            return self._body  # In parts that matter to nobody here it is odd; callers may cope.
        reply["object"] = "chat.completion"
        reply["usage"] = chat_usage.written_usage(
            usage, raw, counting=self._counting, with_cost=self._wants_cost
        )
        for choice in reply["choices"]:
            message = choice["message"] = mended_message(choice.get("message") or {})
            calls = bool(message.get("tool_calls"))
            reason = finish_reason_of(choice.get("finish_reason"), has_calls=calls)
            choice["finish_reason"] = reason or ("tool_calls" if calls else "stop")
        return encode(reply)

    def _is_written_alike(self, usage: Usage, raw: msgspec.Raw) -> bool:
        return not self._wants_cost and chat_usage.is_written_alike(usage, raw, self._counting)

    def _note(self, choice: Choice) -> None:
        message = choice.message or Delta()
        tally = self.tally
        tally.finish_reason = choice.finish_reason or ""
        if message.content is not None:
            tally.output.append(text_of(message.content))
        if thoughts := message.reasoning_content or message.reasoning:
            tally.output.append(thoughts)
        for call in message.tool_calls or ():
            if call.function is not None:
                name = call.function.name or ""
                tally.output.append(name + (call.function.arguments or ""))
                if name:
                    tally.called.append(name)
            if call.id:
                tally.call_ids.append(call.id)
            self._needs_mending |= call.type != "function"
        tally.has_output = True
        self._needs_mending |= (
            choice.finish_reason not in FINISH_REASONS
            or message.role != "assistant"
            or (message.content is not None and not isinstance(message.content, str))
            or (bool(message.reasoning) and not message.reasoning_content)
        )


def read_whole(body: bytes) -> tuple[Chunk, bytes]:
    """Read a whole reply; raise `EmbeddedError` for an error, BAD_REPLY for nonsense.

    Returned with it is its body, which is another than `body` where half characters were in it.
    """
    try:
        reply = _decode(body)
    except UNREADABLE as error:
        mended = without_halves(body)
        if mended != body:
            return read_whole(mended)
        raise failure_in(body, error) from None
    if not reply.choices:
        if is_there(reply.error):
            raise EmbeddedError(body)
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream sent a reply without an answer.")
    if is_there(reply.error) or any(choice.finish_reason == "error" for choice in reply.choices):
        raise EmbeddedError(body)
    return reply, body
