"""Counting tokens: the shape of a counter, and what a whole request takes.

Who counts is decided in `app`. Grok's own vocabulary is not public, so every count is an estimate.
"""

from collections.abc import Mapping
from typing import Protocol

from groxy.core.parts import File, Image, Part, Text, ToolResult
from groxy.core.request import Request

TOKENS_PER_MESSAGE = 4
IMAGE_TOKENS: Mapping[str, int] = {"low": 256, "high": 1792}
IMAGE_TOKENS_AUTO = 1024
"""xAI: a picture takes 256 to 1792 tokens (docs.x.ai, rate limits, 2026)."""
_BYTES_PER_FILE_TOKEN = 6
"""Of a document in base64: four characters a token of text, and base64 makes four of three."""
_FILE_TOKENS = 500
"""Of a document that is only pointed to."""


class TokenCounter(Protocol):
    """Counts tokens of text."""

    def count(self, text: str) -> int:
        """Return how many tokens `text` takes, roughly."""
        ...


def image_tokens(request: Request) -> int:
    """Return what the pictures of a request take."""
    return sum(map(_beside_text, request.images))


def input_tokens(request: Request, counter: TokenCounter) -> int:
    """Return what a request takes, pictures and documents included; at least 1."""
    tokens = counter.count(request.text) + TOKENS_PER_MESSAGE * len(request.messages)
    for message in request.messages:
        for part in message.parts:
            if not isinstance(part, Text):  # nearly all are
                tokens += _beside_text(part)
    return max(tokens, 1)


def _beside_text(part: Part) -> int:
    match part:
        case Image(detail=detail):
            return IMAGE_TOKENS.get(detail, IMAGE_TOKENS_AUTO)
        case ToolResult(images=images):
            return sum(map(_beside_text, images))
        case File(url=url):
            is_here = url.startswith("data:")
            return len(url) // _BYTES_PER_FILE_TOKEN if is_here else _FILE_TOKENS
        case _:
            return 0
