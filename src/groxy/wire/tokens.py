"""Token counts with OpenAI's o200k vocabulary: the nearest public one, Grok's own is not public.

In: text of any size. Out: how many tokens it takes, the text token by token, or the tokens' ids and
bytes; an estimate, a few per cent off for most prose. The vocabulary (some 15 MB) is loaded with
the first count, not with the import. Any thread may count. Must not count anything but text: what
roles, pictures and tools add is for the caller to know.
"""

import threading
from functools import lru_cache
from typing import Protocol

_VOCABULARY = "o200k_base"
_CHUNK_CHARS = 8192
"""Long text is counted in pieces: a megabyte without a space took 280 ms in one, 12 ms so."""


class _Vocabulary(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...

    def decode_token_bytes(self, token: int, /) -> bytes: ...


class SplintrCounter:
    """Counts as `core.tokens.TokenCounter` says, in time that grows with the text and no faster."""

    def load(self) -> None:
        """Load the vocabulary now: a tenth of a second that the first count does not take then."""
        # Its splitter gets itself ready with the first text that is not plain ASCII.
        self.count("“Ready”, 1 2 3.\n" * 100)

    def count(self, text: str) -> int:
        """Return how many tokens `text` takes, roughly."""
        if len(text) <= _CHUNK_CHARS:
            return len(_encoded(text)) if text else 0
        return sum(len(_encoded(chunk)) for chunk in _chunks(text))

    def split(self, text: str) -> list[str]:
        """Return `text` in one piece a token: `len(split(text)) == count(text)`.

        Where a character takes several tokens, the last of them has it and the others are empty.
        """
        pieces: list[str] = []
        decode = _vocabulary().decode_token_bytes if text else None
        for chunk in _chunks(text):
            held = b""
            for token in _encoded(chunk):
                held += decode(token) if decode else b""
                try:
                    pieces.append(held.decode())
                    held = b""
                except UnicodeDecodeError:
                    pieces.append("")
        return pieces

    def tokens(self, text: str) -> list[tuple[int, bytes]]:
        """Return the id and the bytes of each token: `len(tokens(text)) == count(text)`.

        The bytes together are the text in UTF-8; one token's alone may be half a character.
        """
        if not text:
            return []
        decode = _vocabulary().decode_token_bytes
        known: dict[int, tuple[int, bytes]] = {}
        found: list[tuple[int, bytes]] = []
        for chunk in _chunks(text):
            for token in _encoded(chunk):
                if token not in known:
                    known[token] = (token, decode(token))
                found.append(known[token])
        return found


_loading = threading.Lock()


def _vocabulary() -> _Vocabulary:
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> _Vocabulary:
    # Late, because most commands never count and start sooner without it.
    from splintr import Tokenizer  # noqa: PLC0415

    return Tokenizer.from_pretrained(_VOCABULARY)


def _encoded(chunk: str) -> list[int]:
    # "ordinary": `<|endoftext|>` in a prompt is text like any other, not one special token.
    vocabulary = _vocabulary()
    try:
        return vocabulary.encode_ordinary(chunk)
    except UnicodeEncodeError:
        # Half a surrogate pair is no character; it is counted as the question mark it turns into.
        return vocabulary.encode_ordinary(chunk.encode(errors="replace").decode())


def _chunks(text: str) -> list[str]:
    if len(text) <= _CHUNK_CHARS:
        return [text] if text else []
    return [text[at : at + _CHUNK_CHARS] for at in range(0, len(text), _CHUNK_CHARS)]
