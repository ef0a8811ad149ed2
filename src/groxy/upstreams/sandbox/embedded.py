"""Embeddings: the texts of a request in, the reply out, one vector after the other.

In: what a request wants, decoded, with the script taken out of its texts. Out: the reply's bytes in
pieces, made while they are sent, so that many vectors take neither much room nor one long turn.
What cannot be is refused before the first piece. Must not know where vectors come from.
"""

import struct
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import cost_of
from groxy.core.parts import Text
from groxy.core.request import Message, Request, Role
from groxy.core.tokens import TokenCounter
from groxy.core.usage import Usage
from groxy.dialects.embeddings import Wanted
from groxy.upstreams.sandbox.brain import PRICE
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.vectors import Embedder
from groxy.wire.json import encode

_MAX_CHARS = 100_000
"""Of one text: about as long as the longest that real models take."""
_MAX_NUMBERS = 4_000_000
"""Of one reply: 40 MB of JSON."""
_DECIMALS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be embedded, checked, and what it takes."""

    texts: Sequence[str]
    dimensions: int
    is_base64: bool
    usage: Usage


def request_of(wanted: Wanted) -> Request:
    """Return the texts as one message of a user, for the script that may stand in them.

    Lists of tokens become their numbers: which vocabulary they are of, nobody says.
    """
    parts = tuple(
        Text(text=piece if isinstance(piece, str) else " ".join(map(str, piece)))
        for piece in wanted.inputs
    )
    return Request(model=wanted.model, messages=(Message(role=Role.USER, parts=parts),))


def order_of(wanted: Wanted, request: Request, embedder: Embedder, tokens: TokenCounter) -> Order:
    """Return what to embed; raise BAD_REQUEST for what is too much. `request` has the texts."""
    dimensions = wanted.dimensions or embedder.dimensions
    if dimensions > embedder.most_dimensions:
        most = embedder.most_dimensions
        raise _bad("dimensions", f"may be at most {most} here, not {dimensions}")
    if dimensions * len(wanted.inputs) > _MAX_NUMBERS:
        raise _bad("input", f"makes a reply of more than {_MAX_NUMBERS} numbers. Send less at once")
    parts = request.messages[0].parts
    texts = [part.text for part in parts if isinstance(part, Text)]
    for at, text in enumerate(texts):
        if len(text) > _MAX_CHARS:
            raise _bad(f"input.{at}", f"is longer than the {_MAX_CHARS} characters that fit here")
    read = sum(
        tokens.count(text) if isinstance(piece, str) else len(piece)
        for text, piece in zip(texts, wanted.inputs, strict=True)
    )
    usage = Usage(input_tokens=read)
    return Order(
        texts=texts,
        dimensions=dimensions,
        is_base64=wanted.is_base64,
        usage=Usage(input_tokens=read, cost_ticks=cost_of(usage, PRICE)),
    )


def reply_pieces(order: Order, script: Script, embedder: Embedder) -> Iterator[bytes]:
    """Yield the reply: its head, each vector, last its usage and where the vectors come from."""
    yield b'{"object":"list","model":' + encode(embedder.name) + b',"data":['
    for index, text in enumerate(order.texts):
        vector = embedder.vector(text, order.dimensions)
        entry = {
            "object": "embedding",
            "index": index,
            "embedding": _packed(vector) if order.is_base64 else _rounded(vector),
        }
        yield (b"," if index else b"") + encode(entry)
    end: dict[str, object] = {"sandbox": embedder.note}
    if script.usage != "none":
        usage = Usage() if script.usage == "zero" else order.usage
        end["usage"] = _written(usage)
    yield b"]," + encode(end)[1:]


def _packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _rounded(vector: list[float]) -> list[float]:
    # 32-bit floats are no more exact than that, and it halves the reply.
    return [round(number, _DECIMALS) for number in vector]


def _written(usage: Usage) -> dict[str, int]:
    written = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    if usage.cost_ticks is not None:
        written["cost_in_usd_ticks"] = usage.cost_ticks
    return written


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)
