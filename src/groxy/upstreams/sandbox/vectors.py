"""Vectors for texts: from a small real model where one is installed, else by hashing what is there.

In: texts. Out: one vector of length 1 each. The hashed ones know no meaning: they are near each
other when the texts share words or pieces of words, which is enough to test an application with.
The real model comes with `pip install groxy[embeddings]` and is loaded with the first text, not
with the import. Must not fetch anything, and says by its name which of the two it is.
"""

import logging
import re
from collections import Counter
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

_PACKAGE = "wordllama"
_MAX_READ = 20_000
"""Characters of a text that the real model reads; it was made for paragraphs."""
_WORD = re.compile(r"\w{1,32}")
_LONG_WORD = 6
"""Letters from which on a word counts in full: short ones are mostly in every text."""
_PAIR_SHARE = 0.5
_PIECE_SHARE = 0.4
"""What pairs of words and pieces of three letters weigh beside words."""
_TINY = 1e-9


class Embedder(Protocol):
    """Turns texts into vectors."""

    name: str
    """What the reply calls the model."""
    note: str
    """What the reply says of where its vectors come from."""
    dimensions: int
    """How many numbers a vector has where nobody asks for another size."""
    most_dimensions: int

    def vector(self, text: str, dimensions: int) -> list[float]:
        """Return a vector of length 1."""
        ...


class HashedVectors:
    """Feature hashing: words, pairs of words and pieces of words, each a place and a sign."""

    name = "sandbox-hashed"
    note = "deterministic vectors, not a model"
    dimensions = 384
    most_dimensions = 4096

    def vector(self, text: str, dimensions: int) -> list[float]:
        """Return a vector of length 1."""
        vector = [0.0] * dimensions
        for feature, weight in _features(text).items():
            place = crc32(feature.encode(errors="replace"))
            vector[(place >> 1) % dimensions] += weight if place & 1 else -weight
        return _of_length_one(vector)


class ModelVectors:
    """WordLlama: 16 MB of weights inside its wheel (github.com/dleemiller/WordLlama, MIT)."""

    name = "wordllama-l2-supercat-256"
    note = "a small real model"
    dimensions = 256
    most_dimensions = 256

    def vector(self, text: str, dimensions: int) -> list[float]:
        """Return a vector of length 1."""
        # One by one: in a batch it makes all texts as long as the longest, in room for all.
        row: list[float] = _load_model().embed([text[:_MAX_READ]])[0].tolist()
        # The first numbers say the most, so a shorter vector is the beginning of the long one.
        return _of_length_one(row[:dimensions])


def best_embedder() -> Embedder:
    """Return the real model where it is installed, else the hashing one; loads nothing."""
    return HashedVectors() if find_spec(_PACKAGE) is None else ModelVectors()


@lru_cache(maxsize=1)
def _load_model() -> Any:  # noqa: ANN401  a package that need not be there
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    package = import_module(_PACKAGE)
    # Its import sets up logging for the whole process (0.4.0.post1, wordllama/__init__.py).
    root.handlers[:] = handlers
    root.setLevel(level)
    # It looks for its own tokenizer in the cache only, so the package is named as the cache.
    folder = Path(str(package.__file__)).parent
    return package.WordLlama.load(cache_dir=folder, disable_download=True)


def _features(text: str) -> dict[str, float]:
    """Return what is in a text, and how much it weighs there."""
    words = _WORD.findall(text.lower())
    if not words:
        return {text: 1.0}  # Signs alone: the same ones are alike, that is all.
    found: dict[str, float] = {}
    for word, count in Counter(words).items():
        weight = (1 + log(count)) * min(len(word), _LONG_WORD) / _LONG_WORD
        found[word] = found.get(word, 0.0) + weight
        for piece in _pieces(word):
            found[piece] = found.get(piece, 0.0) + _PIECE_SHARE * weight
    for first, second in pairwise(words):
        found[f"{first} {second}"] = _PAIR_SHARE
    return found


@lru_cache(maxsize=20_000)
def _pieces(word: str) -> tuple[str, ...]:
    """Return a word in pieces of three letters, told apart from whole words by their mark."""
    edged = f"^{word}$"
    return tuple(f"~{edged[at : at + 3]}" for at in range(len(edged) - 2))


def _of_length_one(vector: list[float]) -> list[float]:
    length = sqrt(sum(number * number for number in vector))
    if length < _TINY:  # Nothing in it, or what was there cancelled out.
        return [1.0, *([0.0] * (len(vector) - 1))]
    return [number / length for number in vector]
