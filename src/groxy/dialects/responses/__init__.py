"""OpenAI Responses: `POST /v1/responses`, both ends.

Facts: OpenAI's API description, Open Responses and xAI's OpenAPI document, as of August 2026.
The caller's end: `request` checks what a caller sends (`items`, `tools`), `bounds` what a reply may
cost, `canonical` frees it of the dialect, `encoder` writes the reply (`output`, `sending`,
`reply`), `history` goes on from kept replies. Same dialect on both sides: `relay` passes
a stream on (`drafts`: what of it is open), `whole` a whole reply, `returned` restores custom tools.
The upstream's end: `encode` writes the request, `decoder` reads the reply
(`reading`, `replay`). `usage` is the only place that reads token counts, `errors` words errors.
"""

from collections.abc import Mapping, Sequence

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
from groxy.dialects.responses import bounds, canonical, encode, history, request
from groxy.dialects.responses.decoder import ResponsesDecoder
from groxy.dialects.responses.encoder import ResponsesEncoder
from groxy.dialects.responses.relay import ResponsesRelay
from groxy.dialects.responses.reply import unstarted_failure
from groxy.dialects.responses.whole import ResponsesReply
from groxy.wire.json import Fields
from groxy.wire.sse import KEEPALIVE


class ResponsesDialect:
    """The Responses dialect: `_base.Stateful` and `_base.UpstreamsEnd`."""

    name = "responses"
    upstream_path = "/responses"
    carriers = ("responses", "chat", "messages")
    keepalive = KEEPALIVE
    carries_sealed = True

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

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream of this dialect, as fields that may be changed."""
        return request.outgoing(asked, model=model, effort=effort, stream=stream)

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> StreamRelay:
        """Return a relay for one streamed reply."""
        return ResponsesRelay(asked, rules, frame)

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> WholeReply:
        """Read a whole reply."""
        return ResponsesReply(body, asked, rules, frame)

    def encoder(self, asked: Asked, frame: Frame) -> ReplyEncoder:
        """Return what writes one reply to the caller."""
        return ResponsesEncoder(asked, frame)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        return _openai.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the end of a stream that broke off before any event of its reply had left."""
        return unstarted_failure(error)

    def summaries(self, asked: Asked) -> list[str]:
        """Return the sealed summaries of ours that a request holds in place of older turns."""
        return history.summaries(asked)

    def continued(self, asked: Asked, earlier: Sequence[bytes], opened: Mapping[str, str]) -> Asked:
        """Return a request with its whole history in it."""
        return history.continued(asked, earlier, opened)

    def remembered(self, asked: Asked, record: bytes) -> tuple[str, bytes]:
        """Return the reply's id, and what is to be kept of it and of the request as asked."""
        return history.remembered(asked, record)

    def encode_request(
        self, request: Request, *, model: str, effort: str | None, stream: bool
    ) -> tuple[Fields, list[str]]:
        """Return the body for an upstream, and a word for each thing that it cannot say."""
        return encode.encode_request(request, model=model, effort=effort, stream=stream)

    def decoder(self, rules: UsageRules) -> ReplyDecoder:
        """Return what reads one reply of an upstream."""
        return ResponsesDecoder(rules)


DIALECT = ResponsesDialect()
