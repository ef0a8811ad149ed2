"""Anthropic Messages: `POST /v1/messages`, both ends.

Facts: anthropic 2.11.0 and platform.claude.com (autumn 2026), xAI's OpenAPI document (2026-08).
`request` reads what a caller sends (`shapes` its types, `blocks` its content blocks, `attribution`
what Claude Code puts at its head, `bounds` what a reply may cost), `relay` passes
an upstream's stream on, `whole` a whole reply.
Between dialects `encode` writes requests, `decoder` reads replies and `encoder` writes them;
`sealing` is how sealed thoughts travel. `stream` reads events, `stops` says why a reply ended,
`usage` is the only place that reads token counts, `errors` the error envelope.
"""

from groxy.core.errors import GroxyError
from groxy.core.request import Request
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
from groxy.dialects.messages import bounds, encode, errors, request
from groxy.dialects.messages.decoder import MessagesDecoder
from groxy.dialects.messages.encoder import MessagesEncoder
from groxy.dialects.messages.relay import MessagesRelay
from groxy.dialects.messages.whole import MessagesReply
from groxy.wire.json import Fields


class MessagesDialect:
    """The Messages dialect as `dialects._base` describes `CallersEnd` and `UpstreamsEnd`."""

    name = "messages"
    upstream_path = "/messages"
    carriers: tuple[str, ...] = ("messages", "responses", "chat")
    keepalive = b'event: ping\ndata: {"type":"ping"}\n\n'
    carries_sealed = True

    # The two ends of one lane: the same dialect on both sides.

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        return request.decode_request(body)

    def decode_count_request(self, body: bytes) -> Asked:
        """Check a body of `POST /v1/messages/count_tokens`; `canonical` takes what it returns."""
        return request.decode_count_request(body)

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request."""
        return request.prompt_text(asked)

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return what bounds the output."""
        return bounds.bound_of(asked)

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the same request with so many tokens at most."""
        return bounds.bounded(asked, max_tokens)

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream of the same dialect, as fields that may be changed."""
        return request.outgoing(asked, model=model, effort=effort, stream=stream)

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> StreamRelay:
        """Return a relay for one streamed reply of the same dialect."""
        del asked
        return MessagesRelay(rules, frame)

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> WholeReply:
        """Read a whole reply of the same dialect."""
        del asked
        return MessagesReply(body, rules, frame)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        return errors.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off."""
        return errors.encode_stream_error(error)

    # The caller's end of a translation.

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way."""
        return request.canonical(asked)

    def encoder(self, asked: Asked, frame: Frame) -> ReplyEncoder:
        """Return what writes one reply to the caller."""
        return MessagesEncoder(asked, frame)

    # The upstream's end of a translation.

    def encode_request(
        self, request: Request, *, model: str, effort: str | None, stream: bool
    ) -> tuple[Fields, list[str]]:
        """Return the body for an upstream, and a word for each thing that it cannot say."""
        return encode.encode_request(request, model=model, effort=effort, stream=stream)

    def decoder(self, rules: UsageRules) -> ReplyDecoder:
        """Return what reads one reply of an upstream."""
        return MessagesDecoder(rules)


DIALECT = MessagesDialect()
