"""OpenAI Chat Completions: `POST /v1/chat/completions`, both ends.

Facts: OpenAI's API reference and xAI's OpenAPI document, as of August 2026. `request` reads what
a caller sends, `relay` passes an upstream's stream on, `whole` a whole reply, `usage` is the only
place that reads token counts, `events` writes canonical events, `errors` the error envelope.
"""

from groxy.core.errors import GroxyError
from groxy.core.request import Request
from groxy.dialects._base import Asked, StreamRelay, UsageRules, WholeReply
from groxy.dialects.chat import errors, request
from groxy.dialects.chat.relay import ChatRelay
from groxy.dialects.chat.whole import ChatReply
from groxy.wire.json import Fields


class ChatDialect:
    """The chat dialect as `dialects._base.Dialect` describes it."""

    name = "chat"
    upstream_path = "/chat/completions"

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        return request.decode_request(body)

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way."""
        return request.canonical(asked)

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream, as fields that may be changed."""
        return request.outgoing(asked, model=model, effort=effort, stream=stream)

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request."""
        return request.prompt_text(asked)

    def relay(self, asked: Asked, rules: UsageRules) -> StreamRelay:
        """Return a relay for one streamed reply."""
        return ChatRelay(wants_usage=asked.wants_usage, rules=rules)

    def read_whole(self, body: bytes, rules: UsageRules) -> WholeReply:
        """Read a whole reply."""
        return ChatReply(body, rules)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        return errors.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return b"data: " + errors.encode_error(error) + b"\n\n"


DIALECT = ChatDialect()
