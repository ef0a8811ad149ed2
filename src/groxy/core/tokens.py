"""Counting tokens: the shape of a counter. Who counts is decided in `app`."""

from typing import Protocol


class TokenCounter(Protocol):
    """Counts tokens of text. Grok's own vocabulary is not public, so every count is an estimate."""

    def count(self, text: str) -> int:
        """Return how many tokens `text` takes, roughly."""
        ...
