"""OpenAI Embeddings: `POST /v1/embeddings`, the same dialect on both sides.

In: a caller's body, an upstream's reply. Out: the body for an upstream, the reply as it came with
its usage read for the books. Facts: OpenAI's API reference and xAI's OpenAPI document, as of August
2026. No other dialect can carry a request for vectors, and none is ever streamed. Must not read the
vectors: a reply may hold megabytes of them.
"""

from typing import Annotated, Literal, NoReturn, TypeGuard

import msgspec
from msgspec import Meta, Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects import _openai
from groxy.dialects._base import Asked, EmbeddedError, Frame, OutputBound, Tally, UsageRules
from groxy.dialects._bills import ABSURD_TOKENS, Billed, bill_of
from groxy.dialects._bounds import open_body
from groxy.dialects._embedded import failure_in, is_there
from groxy.wire.json import (
    UNREADABLE,
    Fields,
    decode_fields,
    decode_request as decode_json,
    encode,
)
from groxy.wire.sse import KEEPALIVE

MAX_INPUTS = 2048
"""OpenAI's limit of texts in one request; xAI takes 128."""
_ANY_WORD = " a"
"""What stands for a token whose text is not known, where text is to be counted."""
_FORMS = "a text, a list of texts, a list of tokens, or a list of lists of tokens"

_Token = Annotated[int, Meta(ge=0, le=2**31)]
_Item = str | _Token | list[_Token]


class _Body(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | list[_Item]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants to have turned into vectors."""

    model: str
    inputs: list[str | list[int]]
    """Texts, or lists of token ids of a vocabulary that the request does not name."""
    is_base64: bool
    """True for vectors as base64 of little-endian 32-bit floats."""
    dimensions: int | None
    """None: as many as the model has."""


class _Usage(Billed):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Vector(msgspec.Struct):
    embedding: Raw = Raw(b"")


class _Reply(msgspec.Struct):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: Raw = Raw(b"")
    error: Raw = Raw(b"")


_body_decoder = msgspec.json.Decoder(_Body)
_reply_decoder = msgspec.json.Decoder(_Reply)
_usage_decoder = msgspec.json.Decoder(_Usage)


class EmbeddingsDialect:
    """The embeddings dialect as `dialects._base.Dialect` describes it."""

    name = "embeddings"
    upstream_path = "/embeddings"
    carriers: tuple[str, ...] = ("embeddings",)
    keepalive = KEEPALIVE
    carries_sealed = False

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        read = decode_json(body, _body_decoder)
        _inputs_of(read)
        fields, max_cost_ticks = open_body(body)
        return Asked(model=read.model, stream=False, fields=fields, max_cost_ticks=max_cost_ticks)

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return that vectors have no tokens of output."""
        del asked
        return OutputBound(max_tokens=0)

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the request as it is: there is nothing to bound."""
        del max_tokens
        return asked

    def wanted(self, asked: Asked) -> Wanted:
        """Decode the request all the way."""
        body = decode_json(encode(asked.fields), _body_decoder)
        return Wanted(
            model=body.model,
            inputs=_inputs_of(body),
            is_base64=body.encoding_format == "base64",
            dimensions=body.dimensions,
        )

    def prompt_text(self, asked: Asked) -> str:
        """Return all text of the request; tokens without text count as one token each."""
        pieces = [
            piece if isinstance(piece, str) else _ANY_WORD * len(piece)
            for piece in self.wanted(asked).inputs
        ]
        return "\n".join(pieces)

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
        """Return the body for an upstream: the caller's own, under the model's name there."""
        del effort, stream
        fields = dict(asked.fields)
        fields["model"] = Raw(encode(model))
        for name in ("stream", "stream_options"):
            fields.pop(name, None)
        return fields

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> NoReturn:
        """Raise INTERNAL: no request for vectors is a stream, so nobody should ask."""
        del asked, rules, frame
        raise GroxyError(ErrorKind.INTERNAL, "Embeddings are not streamed.")

    def read_whole(
        self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame
    ) -> "EmbeddingsReply":
        """Read a reply; raise `EmbeddedError` for an error, BAD_REPLY for nonsense."""
        del asked, frame
        return EmbeddingsReply(body, rules)

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply, in OpenAI's envelope."""
        return _openai.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the same as an event; nobody gets to see it, as nothing is streamed."""
        return _openai.encode_stream_error(error)


def _inputs_of(body: _Body) -> list[str | list[int]]:
    """Return what is to be turned into vectors, one piece a vector; raise BAD_REQUEST."""
    given = body.input
    if isinstance(given, str):
        inputs: list[str | list[int]] = [given]
    elif _are_tokens(given):
        inputs = [given]
    else:
        for at, piece in enumerate(given):
            if type(piece) is not type(given[0]):
                raise _bad(f"input.{at}", f"is not like the first one; send {_FORMS}")
        inputs = [piece for piece in given if not isinstance(piece, int)]
        if len(inputs) > MAX_INPUTS:
            raise _bad("input", f"has {len(inputs)} pieces; send at most {MAX_INPUTS} at once")
    for at, piece in enumerate(inputs):
        if not piece:
            where = f"input.{at}" if len(inputs) > 1 else "input"
            raise _bad(where, f"is empty; send {_FORMS}")
    return inputs


def _are_tokens(given: list[_Item]) -> TypeGuard[list[int]]:
    """True for one list of tokens; also for an empty list, which is refused as one."""
    return all(isinstance(piece, int) for piece in given)


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


class EmbeddingsReply:
    """One reply; see `dialects._base.WholeReply`. It goes on as it came, but for missing usage."""

    record = b""

    def __init__(self, body: bytes, rules: UsageRules) -> None:
        self._body = body
        reply = _read(body)
        self._usage = _read_usage(reply.usage, rules)
        self.tally = Tally(model_served=reply.model or "", has_output=True)

    def reported_usage(self) -> Usage | None:
        """Return the usage the upstream reported, if it makes sense."""
        return self._usage

    def encode(self, usage: Usage) -> bytes:
        """Return the reply for the caller, with `usage` as its usage."""
        if self._usage is not None and self._usage.input_tokens == usage.input_tokens:
            return self._body
        fields = decode_fields(self._body)
        written = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
        fields["usage"] = Raw(encode(written))
        return encode(fields)


def _read(body: bytes) -> _Reply:
    try:
        reply = _reply_decoder.decode(body)
        decode_fields(body)  # So that `encode` cannot fail later.
    except UNREADABLE as error:
        raise failure_in(body, error) from None
    if is_there(reply.error):
        raise EmbeddedError(body)
    if not reply.data or not all(bytes(one.embedding)[:1] in (b"[", b'"') for one in reply.data):
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream sent a reply without vectors.")
    return reply


def _read_usage(raw: Raw, rules: UsageRules) -> Usage | None:
    """Return the usage an upstream reported, or None when it is missing, zero or nonsense."""
    try:
        wire = _usage_decoder.decode(raw)
    except UNREADABLE:
        return None
    tokens = wire.prompt_tokens or wire.total_tokens or 0
    if not 0 < tokens <= ABSURD_TOKENS:
        return None
    return Usage(input_tokens=tokens, cost_ticks=bill_of(wire, rules))


DIALECT = EmbeddingsDialect()
