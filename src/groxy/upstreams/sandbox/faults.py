"""The script: how a user tells the sandbox to fail, stall, hurry or ramble.

In: a canonical request whose last user message may hold `[[sandbox: word=value word …]]`, and the
words of an `x-sandbox` header. Out: a `Script`, and the request without the marker. Words that
are not known are an error that names those that are. Pure but for `Repeats`, which counts calls.
Must not know how a reply is written: it only says what was asked for.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from msgspec import structs

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.core.request import Message, Request, Role

SHAPES = ("xai", "openai", "anthropic", "openrouter", "cloudflare", "html")
FILM_ENDS = ("failed", "expired", "refused", "stuck")
USAGES = ("honest", "none", "cumulative", "zero")

Limits = tuple[int, int, float]
"""A limit, what remains of it, and the seconds until it is full again."""

_OPENING = "[[sandbox"
_MARKER = re.compile(r"\[\[sandbox:([^\[\]]{0,1000})\]\]")
_MAX_WAIT_S = 3600.0
_MAX_EVENTS = 1_000_000
_MAX_LENGTH = 50_000
_MAX_LIMIT = 999_999_999
_MAX_REPEATS = 10_000
"""Messages whose calls are counted; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the sandbox is to do beside answering. Field and word have the same name."""

    status: int = 0
    shape: str = ""
    """Empty for the usual one of the dialect that the request came in."""
    retry_after: float | None = None
    wrong_key: bool = False
    no_credits: int = 0
    too_long: bool = False
    refused: bool = False
    error_200: bool = False
    slow_first: float = 0.0
    stall_after: tuple[int, float] | None = None
    cut_after: int | None = None
    garbage_after: int | None = None
    error_after: int | None = None
    no_done: bool = False
    usage: str = "honest"
    empty_finish: bool = False
    repeat_role: bool = False
    no_index: bool = False
    comments: bool = False
    split: int = 0
    times: int | None = None
    pace: float | None = None
    tokens: int | None = None
    cached: int = 0
    fragments: bool = False
    limits: Limits | None = None
    token_limits: Limits | None = None
    few: int | None = None
    moderated: int = 0
    film: str = ""
    takes: float | None = None
    links: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a script."""

    example: str
    """As it is written, such as `status=429`."""
    meaning: str
    """What its value must be, for the error that a wrong one gets."""
    read: Callable[[str], Any]
    """Turns the text behind `=` into the field's value; raises ValueError."""
    fails: bool = True
    """False for words that only shape the answer; `times` does not count for these."""


def _flag(text: str) -> bool:
    if text not in ("", "1", "true", "yes", "on"):
        raise ValueError(text)
    return True


def read_whole(text: str, *, low: int, high: int) -> int:
    """Read a whole number within bounds; raise ValueError."""
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
        raise ValueError(text)
    return int(text[:9])


def _number(text: str, *, high: float) -> float:
    value = float(text)
    if not 0 <= value <= high:  # NaN is refused here too.
        raise ValueError(text)
    return value


def read_one_of(text: str, *, known: tuple[str, ...]) -> str:
    """Read one of some words; raise ValueError."""
    if text not in known:
        raise ValueError(text)
    return text


def _credits_status(text: str) -> int:
    return int(read_one_of(text or "403", known=("403", "429")))


def _stall(text: str) -> tuple[int, float]:
    events, _, length = text.partition(":")
    return read_count(events), read_seconds(length)


def _limits(text: str) -> Limits:
    limit, _, more = text.partition(":")
    remaining, _, reset = more.partition(":")
    most = read_whole(limit, low=1, high=_MAX_LIMIT)
    return most, read_whole(remaining, low=0, high=most), read_seconds(reset or "60")


read_count = partial(read_whole, low=0, high=_MAX_EVENTS)
read_seconds = partial(_number, high=_MAX_WAIT_S)


def _flag_word(name: str, *, fails: bool = True) -> Word:
    return Word(example=name, meaning="takes no value", read=_flag, fails=fails)


def _count_word(example: str) -> Word:
    return Word(example=example, meaning="needs a number of events", read=read_count)


def _limits_word(example: str) -> Word:
    meaning = "needs a limit, what remains of it and the seconds to its reset, with colons between"
    return Word(example=example, meaning=meaning, read=_limits, fails=False)


WORDS: Mapping[str, Word] = {
    "status": Word(
        example="status=429",
        meaning="needs a status from 400 to 599",
        read=partial(read_whole, low=400, high=599),
    ),
    "shape": Word(
        example="shape=openai",
        meaning=f"must be one of {', '.join(SHAPES)}",
        read=partial(read_one_of, known=SHAPES),
    ),
    "retry_after": Word(
        example="retry_after=3", meaning="needs a number of seconds", read=read_seconds
    ),
    "wrong_key": _flag_word("wrong_key"),
    "no_credits": Word(
        example="no_credits=429", meaning="must be 403 or 429", read=_credits_status
    ),
    "too_long": _flag_word("too_long"),
    "refused": _flag_word("refused"),
    "error_200": _flag_word("error_200"),
    "slow_first": Word(
        example="slow_first=2", meaning="needs a number of seconds", read=read_seconds
    ),
    "stall_after": Word(
        example="stall_after=5:20",
        meaning="needs a number of events, a colon and a number of seconds",
        read=_stall,
    ),
    "cut_after": _count_word("cut_after=5"),
    "garbage_after": _count_word("garbage_after=5"),
    "error_after": _count_word("error_after=5"),
    "no_done": _flag_word("no_done"),
    "usage": Word(
        example="usage=none",
        meaning=f"must be one of {', '.join(USAGES)}",
        read=partial(read_one_of, known=USAGES),
    ),
    "empty_finish": _flag_word("empty_finish"),
    "repeat_role": _flag_word("repeat_role"),
    "no_index": _flag_word("no_index"),
    "comments": _flag_word("comments"),
    "split": Word(
        example="split=7",
        meaning="needs a number of bytes from 1",
        read=partial(read_whole, low=1, high=_MAX_EVENTS),
    ),
    "times": Word(
        example="times=2",
        meaning="needs a number of calls from 1",
        read=partial(read_whole, low=1, high=_MAX_EVENTS),
    ),
    "pace": Word(
        example="pace=20",
        meaning="needs a number of tokens per second, 0 for no limit",
        read=partial(_number, high=1e6),
        fails=False,
    ),
    "tokens": Word(
        example="tokens=500",
        meaning=f"needs a number of tokens from 1 to {_MAX_LENGTH}",
        read=partial(read_whole, low=1, high=_MAX_LENGTH),
        fails=False,
    ),
    "cached": Word(
        example="cached=1000",
        meaning="needs a number of tokens",
        read=partial(read_whole, low=0, high=10_000_000),
        fails=False,
    ),
    "fragments": _flag_word("fragments", fails=False),
    "limits": _limits_word("limits=100:42:30"),
    "token_limits": _limits_word("token_limits=50000:49000:30"),
    "few": Word(
        example="few=1",
        meaning="needs a number of pictures up to 10",
        read=partial(read_whole, low=0, high=10),
    ),
    "moderated": Word(
        example="moderated=1",
        meaning="needs a number of pictures from 1 to 10",
        read=partial(read_whole, low=1, high=10),
    ),
    "film": Word(
        example="film=failed",
        meaning=f"must be one of {', '.join(FILM_ENDS)}",
        read=partial(read_one_of, known=FILM_ENDS),
    ),
    "takes": Word(
        example="takes=5", meaning="needs a number of seconds", read=read_seconds, fails=False
    ),
    "links": _flag_word("links", fails=False),
}


def read_script(words: str, more: tuple[str, ...] = ()) -> Script:
    """Read `word=value word …`; raise BAD_REQUEST that says what a wrong word should be.

    `more` are words that the reader of the whole script knows besides.
    """
    values: dict[str, Any] = {}
    for piece in words.replace(",", " ").split():
        name, _, text = piece.partition("=")
        word = WORDS.get(name)
        if word is None:
            known = ", ".join(sorted({*WORDS, *more}))
            raise _bad(f"The sandbox has no word `{name[:40]}`. It knows: {known}.")
        try:
            values[name] = word.read(text)
        except ValueError:
            raise _bad(f"`{name}` {word.meaning}, such as {word.example}.") from None
    return Script(**values)


def take_script(request: Request, header: str = "") -> tuple[Script, Request]:
    """Return what the last user message (and before it `header`) asks for, and the rest."""
    words = [header] if header else []
    messages = list(request.messages)
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is Role.USER:
            messages[index] = _without_marker(messages[index], words)
            break
    if not words:
        return _PLAIN, request
    return read_script(" ".join(words)), structs.replace(request, messages=tuple(messages))


def without_failures(script: Script) -> Script:
    """Return what is left of `script` once its failures have happened often enough."""
    defaults = {name: getattr(_PLAIN, name) for name, word in WORDS.items() if word.fails}
    return replace(script, **defaults)


class Repeats:
    """Counts the calls of each message, so that a failure can end after so many of them."""

    def __init__(self, size: int = _MAX_REPEATS) -> None:
        self._size = size
        self._calls: OrderedDict[bytes, int] = OrderedDict()

    def call(self, message: bytes) -> int:
        """Take a call with this message into the count; return how many there were before."""
        before = self._calls.pop(message, 0)
        self._calls[message] = before + 1
        if len(self._calls) > self._size:
            self._calls.popitem(last=False)
        return before


_PLAIN = Script()


def _without_marker(message: Message, words: list[str]) -> Message:
    """Take the marker out of a message's text; its words go to `words`."""
    found = len(words)
    parts = []
    for part in message.parts:
        if isinstance(part, Text) and _OPENING in part.text:
            markers = _MARKER.findall(part.text)
            if len(markers) != part.text.count(_OPENING):
                raise _bad("The marker is not complete. Write it as [[sandbox: status=429]].")
            words.extend(markers)
            part = Text(text=_MARKER.sub("", part.text).strip())  # noqa: PLW2901  the rest of it
        parts.append(part)
    return message if len(words) == found else structs.replace(message, parts=tuple(parts))


def _bad(message: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message, param="messages")
