"""Ids: unguessable, with a prefix that says what they name; those of requests sort by time."""

import secrets
import time

_HEX_DIGITS = 16
_AT_ONCE = 256
_spare: list[str] = []
"""Random digits that no id has yet: asking the system for those of each took as long as 30 lines of
code."""


def new_id(prefix: str) -> str:
    """Return `prefix` and 24 random hex digits, such as `req_0f3a…`."""
    return prefix + secrets.token_hex(12)


def new_request_id() -> str:
    """Return `req_`, the time in milliseconds and 16 random hex digits: `req_19a1b2c3d4e…`.

    The books are kept in the order of their ids, so that a new line always goes at the end: with
    ids in random order a commit of 32 lines took three times as long.
    """
    return f"req_{time.time_ns() // 1_000_000:011x}{_random_digits()}"


def forget_spare_digits() -> None:
    """Draw anew: a process that forked must not give the ids that its parent gives."""
    _spare.clear()


def _random_digits() -> str:
    while True:
        try:
            return _spare.pop()  # At once, so that no two threads get the same.
        except IndexError:
            digits = secrets.token_hex(_HEX_DIGITS // 2 * _AT_ONCE)
            starts = range(0, len(digits), _HEX_DIGITS)
            _spare.extend(digits[start : start + _HEX_DIGITS] for start in starts)
