"""What the headers of a reply say about rate limits: `RateFacts`.

In: the headers of any reply, good or bad. Out: limit, what remains of it, and when it is full
again, for requests and for tokens. Headers are a hint from a stranger: what makes no sense is
passed over, and nothing here raises. It runs on every reply, so the usual case (no such header)
costs a lookup or two for each style that an upstream is known to have.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RateWindow:
    """One limit."""

    limit: int
    remaining: int
    reset_s: float | None = None
    """Seconds from now until it is full again; None when that is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFacts:
    """The limits that a reply told; at least one of them is there."""

    requests: RateWindow | None = None
    tokens: RateWindow | None = None


@dataclass(frozen=True, slots=True)
class _Names:
    """The headers of one limit."""

    limit: str
    remaining: str
    reset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStyle:
    """What a family of servers calls its headers."""

    requests: _Names
    tokens: _Names | None = None


OPENAI_RATES = RateStyle(
    requests=_Names(
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"
    ),
    tokens=_Names(
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"
    ),
)
"""platform.openai.com, Rate limits, 2026: resets are durations such as `1s` and `6m0s`."""
PLAIN_RATES = RateStyle(
    requests=_Names("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
)
"""OpenRouter, on 429s only, with a reset in unix milliseconds (limits.mdx, 2026-08)."""
ANTHROPIC_RATES = RateStyle(
    requests=_Names(
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    tokens=_Names(
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
)
"""docs.claude.com, Rate limits, 2026: resets are times in RFC 3339."""


def unix_now() -> float:
    """Return the time in unix seconds."""
    return time.time_ns() / 1e9


def read_rate_headers(
    headers: Mapping[str, str],
    styles: tuple[RateStyle, ...] = (OPENAI_RATES,),
    clock: Callable[[], float] = unix_now,
) -> RateFacts | None:
    """Return the limits in `headers`, of the first style that has any; None when none has."""
    for style in styles:
        requests = _window(headers, style.requests, clock)
        tokens = _window(headers, style.tokens, clock) if style.tokens else None
        if requests or tokens:
            return RateFacts(requests=requests, tokens=tokens)
    return None


_COUNT = re.compile(r"\s*(\d{1,15})(?:\.0+)?\s*(?:[,;]|$)", re.ASCII)
"""Some servers add their policy behind the number: `100, 100;w=60`."""
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,12})?(?:ns|us|µs|ms|d|h|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"([\d.]+)([a-zµ]+)")
_UNIT_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
_NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,12})?", re.ASCII)
_UNIX_S = 1e9
"""A number from here on is a time, not a duration: 2001 in seconds."""
_UNIX_MS = 1e11
"""And from here on in milliseconds: 1973."""
_LONGEST_S = 366 * 86_400.0


def _window(
    headers: Mapping[str, str], names: _Names, clock: Callable[[], float]
) -> RateWindow | None:
    text = headers.get(names.limit)
    if text is None:
        return None
    limit = _count(text)
    remaining = _count(headers.get(names.remaining, ""))
    # A limit of 0 is how some relays write "none": taken at its word, it would never pass.
    if not limit or remaining is None:
        return None
    reset_s = _reset_s(headers.get(names.reset, ""), clock)
    return RateWindow(limit=limit, remaining=min(remaining, limit), reset_s=reset_s)


def _count(text: str) -> int | None:
    found = _COUNT.match(text)
    return int(found[1]) if found else None


def _reset_s(text: str, clock: Callable[[], float]) -> float | None:
    """Return the seconds until a reset that is told in any of the usual ways; None for nonsense."""
    text = text.strip()
    if len(text) > 64:
        return None
    if _DURATION.fullmatch(text):
        seconds = sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION_PART.findall(text))
    elif _NUMBER.fullmatch(text):
        seconds = float(text)
        if seconds >= _UNIX_MS:
            seconds = max(0.0, seconds / 1000 - clock())
        elif seconds >= _UNIX_S:
            seconds = max(0.0, seconds - clock())
    else:
        try:
            told = datetime.fromisoformat(text)
        except ValueError:
            return None
        told = told if told.tzinfo else told.replace(tzinfo=UTC)
        seconds = max(0.0, told.timestamp() - clock())
    return seconds if seconds <= _LONGEST_S else None
