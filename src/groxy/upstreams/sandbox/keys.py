"""The keys that the sandbox is asked with: what one of them is made to suffer, and since when.

In: a script for a key, as words, and each request's key. Out: a `Turn`, which says what this
request suffers. A script of a key may hold every word of `faults.WORDS`, which then counts for all
its requests, and the words of `KEY_WORDS` besides. In memory and bounded; the clock is handed in.
Must not know how a reply is written.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.faults import (
    WORDS,
    Word,
    read_count,
    read_one_of,
    read_script,
    read_seconds,
    read_whole,
)
from groxy.upstreams.sandbox.files import Shelf

ANY_KEY = "*"
"""Its script is that of every key that has none of its own."""
BLOCKS = ("key", "team", "disabled")
_RESETS = ("", "daily", "weekly", "monthly")
_DOLLARS = re.compile(r"\d{1,9}(\.\d{1,10})?", re.ASCII)
_MAX_KEYS = 10_000
_MAX_KEY_CHARS = 1000
_MAX_FILES = 1000
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """What a key has left of its credit limit, in US dollars."""

    left: Decimal
    limit: Decimal
    reset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyScript:
    """What a key is to suffer. Field and word have the same name; `each` holds all other words."""

    each: str = ""
    after: int = 0
    times: int | None = None
    seconds: float | None = None
    quota: tuple[int, float] | None = None
    blocked: str = ""
    credits: Credits | None = None
    models: tuple[str, ...] = ()
    files: int = _FEW


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one request of a key meets."""

    words: str = ""
    """The words of `faults.WORDS` that are on just now."""
    script: KeyScript = KeyScript()
    limits: tuple[int, int, float] | None = None
    """Of the key's quota: the limit, what remains of it, and the seconds until it is full again."""
    is_over: bool = False
    """The quota is used up: this request is one too many."""


def _quota(text: str) -> tuple[int, float]:
    requests, _, window = text.partition(":")
    return read_whole(requests, low=1, high=1_000_000), max(0.001, read_seconds(window))


def _credits(text: str) -> Credits:
    left, _, more = text.partition(":")
    limit, _, reset = more.partition(":")
    if not _DOLLARS.fullmatch(left) or not _DOLLARS.fullmatch(limit):
        raise ValueError(text)
    reset = read_one_of(reset, known=_RESETS)
    return Credits(left=Decimal(left), limit=Decimal(limit), reset=reset)


def _models(text: str) -> tuple[str, ...]:
    named = tuple(text.split("+"))
    if not all(named):
        raise ValueError(text)
    return named


KEY_WORDS: Mapping[str, Word] = {
    "after": Word(example="after=10", meaning="needs a number of requests", read=read_count),
    "times": WORDS["times"],
    "seconds": Word(example="seconds=5", meaning="needs a number of seconds", read=read_seconds),
    "quota": Word(
        example="quota=100:60",
        meaning="needs a number of requests, a colon and a number of seconds",
        read=_quota,
    ),
    "blocked": Word(
        example="blocked=team",
        meaning=f"must be one of {', '.join(BLOCKS)}",
        read=lambda text: read_one_of(text or "key", known=BLOCKS),
    ),
    "credits": Word(
        example="credits=2.50:20:monthly",
        meaning="needs dollars left, a colon and the limit, and may name daily, weekly or monthly",
        read=_credits,
    ),
    "models": Word(
        example="models=grok-4.7+grok-4.3",
        meaning="needs ids of models with + between",
        read=_models,
    ),
    "files": Word(
        example="files=250",
        meaning=f"needs a number of files up to {_MAX_FILES}",
        read=partial(read_whole, low=0, high=_MAX_FILES),
    ),
}


def read_key_script(words: str) -> KeyScript:
    """Read the script of a key; raise BAD_REQUEST that says what a wrong word should be."""
    values: dict[str, Any] = {}
    each = []
    for piece in words.replace(",", " ").split():
        name, _, text = piece.partition("=")
        word = KEY_WORDS.get(name)
        if word is None:
            each.append(piece)
            continue
        try:
            values[name] = word.read(text)
        except ValueError:
            message = f"`{name}` {word.meaning}, such as {word.example}."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="script") from None
    read_script(" ".join(each), more=tuple(KEY_WORDS))
    return KeyScript(each=" ".join(each), **values)


class Keys:
    """The scripts of keys, and how far each has come."""

    def __init__(self, clock: Callable[[], float] = monotonic, size: int = _MAX_KEYS) -> None:
        self.shelf = Shelf()
        self._clock = clock
        self._size = size
        self._states: OrderedDict[str, _State] = OrderedDict()

    def put(self, key: str, words: str) -> None:
        """Give a key a script in place of its last one, begun anew; no words: none any more.

        Of too many keys the one forgotten is the one that got its script first. Raises BAD_REQUEST.
        """
        script = read_key_script(words)
        if len(key) > _MAX_KEY_CHARS:
            message = f"`key` is longer than {_MAX_KEY_CHARS} characters."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="key")
        self._states.pop(key, None)
        if words.strip():
            self._states[key] = _State(script, self._clock())
        if len(self._states) > self._size:
            self._states.popitem(last=False)

    def clear(self) -> None:
        """Forget all scripts, and bring back the files that were deleted."""
        self._states.clear()
        self.shelf.clear()

    def spend(self, key: str) -> Turn:
        """Take a request of this key into the count, and return what it meets."""
        state = self._state(key)
        return state.spend(self._clock()) if state else _UNSCRIPTED

    def look(self, key: str) -> Turn:
        """Return what a request of this key would meet, without counting it."""
        state = self._state(key)
        return state.turn(self._clock()) if state else _UNSCRIPTED

    def requests(self) -> list[tuple[str, int]]:
        """Return each key that has a script, and how many requests it has sent since."""
        return [(key, state.calls) for key, state in self._states.items()]

    def _state(self, key: str) -> "_State | None":
        return self._states.get(key) or self._states.get(ANY_KEY)


class _State:
    """How far the script of one key has come."""

    def __init__(self, script: KeyScript, now: float) -> None:
        self.calls = 0
        self._script = script
        self._fails_since = now
        self._window_from = -math.inf
        self._used = 0
        self._shape = " ".join(
            word for word in script.each.split() if not WORDS[word.partition("=")[0]].fails
        )

    def spend(self, now: float) -> Turn:
        turn = self.turn(now)
        self.calls += 1
        if self.calls == self._script.after:
            self._fails_since = now
        if self._script.quota and not turn.is_over:
            if self._is_new_window(now):
                self._window_from, self._used = now, 0
            self._used += 1
            turn = Turn(words=turn.words, script=turn.script, limits=self._limits(now))
        return turn

    def turn(self, now: float) -> Turn:
        limits = self._limits(now)
        return Turn(
            words=self._script.each if self._fails(now) else self._shape,
            script=self._script,
            limits=limits,
            is_over=limits is not None and limits[1] == 0,
        )

    def _fails(self, now: float) -> bool:
        script = self._script
        if self.calls < script.after:
            return False
        if script.times is not None and self.calls >= script.after + script.times:
            return False
        return script.seconds is None or now < self._fails_since + script.seconds

    def _is_new_window(self, now: float) -> bool:
        return self._script.quota is not None and now >= self._window_from + self._script.quota[1]

    def _limits(self, now: float) -> tuple[int, int, float] | None:
        if self._script.quota is None:
            return None
        limit, window_s = self._script.quota
        if self._is_new_window(now):
            return limit, limit, window_s
        return limit, limit - self._used, self._window_from + window_s - now


_UNSCRIPTED = Turn()
