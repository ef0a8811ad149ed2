"""Whole completions, same dialect on both sides: passed on with the usage that counts."""

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _completion_usage as token_usage
from groxy.dialects._base import Counting, EmbeddedError, Tally, UsageRules
from groxy.dialects._embedded import failure_in, is_there
from groxy.dialects.completions.shapes import Reply, decode_reply, text_of
from groxy.wire.json import UNREADABLE, decode_any, encode


class CompletionsReply:
    """One whole reply; see `dialects._base.WholeReply`."""

    record = b""

    def __init__(
        self, body: bytes, rules: UsageRules, *, counting: Counting = Counting.OPENAI
    ) -> None:
        self._body = body
        self._rules = rules
        self._counting = counting
        self._reply = _read(body)
        self.tally = Tally(
            reply_id=self._reply.id or "", model_served=self._reply.model or "", has_output=True
        )
        for choice in self._reply.choices or ():
            self.tally.output.append(text_of(choice.text))
            self.tally.finish_reason = choice.finish_reason or ""

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        return token_usage.read_usage(self._reply.usage, self._rules)

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        try:
            reply = decode_any(self._body)
        except UNREADABLE:
            return self._body  # In parts that matter to nobody here it is odd; callers may cope.
        reply["usage"] = token_usage.written_usage(
            usage, self._reply.usage, counting=self._counting
        )
        return encode(reply)


def _read(body: bytes) -> Reply:
    try:
        reply = decode_reply(body)
    except UNREADABLE as error:
        raise failure_in(body, error) from None
    if is_there(reply.error):
        raise EmbeddedError(body)
    if not reply.choices:
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream sent a reply without an answer.")
    return reply
