"""OpenAI's legacy completions: `POST /v1/completions`, the caller's end.

Facts: OpenAI's API reference and xAI's OpenAPI document (`SampleRequest`), as of August 2026.
`request` reads what a caller sends, `encoder` writes replies of other dialects, `relay` and `whole`
pass on those of the same one, `_completion_usage` beside it reads and writes token counts.
No other dialect is carried by it: it knows neither roles nor tools.
"""

from groxy.core.errors import GroxyError
from groxy.core.request import Request
from groxy.dialects import _openai
from groxy.dialects._base import (
    Asked,
    Frame,
    OutputBound,
    ReplyEncoder,
    StreamRelay,
    UsageRules,
    WholeReply,
)
from groxy.dialects.completions import request
from groxy.dialects.completions.encoder import CompletionsEncoder
from groxy.dialects.completions.relay import CompletionsRelay
from groxy.dialects.completions.whole import CompletionsReply
from groxy.wire.json import Fields
from groxy.wire.sse import KEEPALIVE


class CompletionsDialect:
    """The completions dialect as `dialects._base.CallersEnd` describes it."""

    name = "completions"
    upstream_path = "/completions"
    carriers: tuple[str, ...] = ("completions", "chat", "responses", "messages")
    keepalive = KEEPALIVE
    carries_sealed = False

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        return request.decode_request(body)

    def canonical(self, asked: Asked) -> Request:
        """Decode the request all the way; raise UNSUPPORTED for more than one prompt."""
        return request.canonical(asked)

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request."""
        return request.prompt_text(asked)

    def encoder(self, asked: Asked, frame: Frame) -> ReplyEncoder:
        """Return what writes one reply to the caller."""
        echo = request.prompt_text(asked) if request.wants_echo(asked) else ""
        return CompletionsEncoder(asked, frame, echo=echo)

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return what bounds the output."""
        return request.bound_of(asked)

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the same request with so many tokens at most."""
        return request.bounded(asked, max_tokens)

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream; it has no place for an effort."""
        del effort
        return request.outgoing(asked, model=model, stream=stream)

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> StreamRelay:
        """Return a relay for one streamed reply."""
        return CompletionsRelay(wants_usage=asked.wants_usage, rules=rules, counting=frame.counting)

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> WholeReply:
        """Read a whole reply; raise `EmbeddedError` for an error, BAD_REPLY for nonsense."""
        del asked
        return CompletionsReply(body, rules, counting=frame.counting)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply."""
        return _openai.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
        return _openai.encode_stream_error(error)


DIALECT = CompletionsDialect()
