"""OpenAI Chat Completions: `POST /v1/chat/completions`, both ends.

Facts: OpenAI's API reference and xAI's OpenAPI document, as of August 2026. The caller's end:
`request` checks what a caller sends (its shape is in `shapes`, what it says of routing in `hints`,
which tools may be called in `choice`, what a reply may cost in `bounds`), `canonical` decodes it
all the way (`search`: xAI's old live search), `events` writes replies (`held_calls`: tool calls
until they are whole). The upstream's end: `upstream_request` writes requests, `decoder` reads
replies. The same dialect on both sides: `relay` passes streams on, `whole` whole replies. What many
upstreams get wrong is mended in `chunks` and `mend`, in `numbering` (which call a piece belongs to)
and in `halves` (characters cut in two). `_completion_usage` beside it is the only place that reads
token counts.
"""

from groxy.core.errors import GroxyError
from groxy.core.request import Request
from groxy.dialects import _openai
from groxy.dialects._base import (
    Asked,
    Frame,
    OutputBound,
    ReplyDecoder,
    ReplyEncoder,
    StreamRelay,
    UsageRules,
    WholeReply,
)
from groxy.dialects.chat import bounds, canonical, request, upstream_request
from groxy.dialects.chat.decoder import ChatDecoder
from groxy.dialects.chat.events import ChatEncoder
from groxy.dialects.chat.relay import ChatRelay
from groxy.dialects.chat.whole import ChatReply
from groxy.wire.json import Fields
from groxy.wire.sse import KEEPALIVE


class ChatDialect:
    """The chat dialect: `CallersEnd` and `UpstreamsEnd` of `dialects._base`."""

    name = "chat"
    upstream_path = "/chat/completions"
    carriers: tuple[str, ...] = ("chat", "responses", "messages")
    keepalive = KEEPALIVE
    carries_sealed = False

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        return request.decode_request(body)

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way."""
        return canonical.canonical(asked)

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request."""
        return canonical.prompt_text(asked)

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return what bounds the output."""
        return bounds.bound_of(asked)

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the same request with so many tokens at most."""
        return bounds.bounded(asked, max_tokens)

    def encoder(self, asked: Asked, frame: Frame) -> ReplyEncoder:
        """Return what writes one reply to the caller."""
        return ChatEncoder(asked, frame)

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream, as fields that may be changed."""
        return request.outgoing(asked, model=model, effort=effort, stream=stream)

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> StreamRelay:
        """Return a relay for one streamed reply."""
        return ChatRelay(
            wants_usage=asked.wants_usage,
            rules=rules,
            wants_cost=asked.wants_cost,
            counting=frame.counting,
        )

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> WholeReply:
        """Read a whole reply; raise `EmbeddedError` for an error, BAD_REPLY for nonsense."""
        return ChatReply(body, rules, wants_cost=asked.wants_cost, counting=frame.counting)

    def encode_request(
        self, request: Request, *, model: str, effort: str | None, stream: bool
    ) -> tuple[Fields, list[str]]:
        """Return the body for an upstream, and a word for each thing that it cannot say."""
        return upstream_request.encode_request(request, model=model, effort=effort, stream=stream)

    def decoder(self, rules: UsageRules) -> ReplyDecoder:
        """Return what reads one reply of an upstream."""
        return ChatDecoder(rules)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        return _openai.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return _openai.encode_stream_error(error)


DIALECT = ChatDialect()
