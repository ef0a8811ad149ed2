"""The gate: which requests may pass now, by limits and by money, exact over all processes.

In: what a request claims: a place in each of its scopes (key, user, plan), tokens, and ticks held
in each of its purses. Out: a verdict; all of the claim is granted or nothing is. Later the claim is
given back: places are free again, tokens are corrected to what they were, the hold ends and the
purse becomes what the books say by then.

Windows. At most `requests` requests, and `tokens` tokens, pass in any 60 seconds, wherever they
begin. What was counted is forgotten between 60 and 60.25 s later, so that a saturated scope passes
at least 99 % of its limit a minute, and never more than 100 %. (A token bucket that is as large as
its limit lets twice the limit pass in its first minute.)

Purses. A purse has `ticks` (a balance, or minus what a key has spent) as of the move number `seq`
of the books, and what is held by requests under way. A claim passes while
`ticks - held - claimed >= floor`. A gate never knows money by itself: an unknown purse refuses
with `UNKNOWN`, and whoever asks reads the books, calls `fill`, and asks again. Of two fills that
with the higher `seq` counts, also while the purse is unknown: a fill that is older than what was
told meanwhile leaves it so, and whoever asks reads the books once more. The gate is fast state: it
may be lost, and is filled again from the books.

Processes. Each process claims under its own name. What a dead process held is free again a few
seconds later, and each purse that it held something of becomes unknown, for it may have entered
charges that nobody was told of.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

MAX_TICKS = 2**53 - 1
"""A purse never counts for more, because Redis computes in doubles; the books know the rest."""
PIECES = 240
"""Into how many pieces a window is cut; each is counted, and forgotten, as one."""
NO_PIECE = -1


class Scope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What limits are counted for, such as one key; 0 is no limit."""

    name: str
    """Such as `key:<id>`, `user:<id>`, `plan:<id>`."""
    requests: int = 0
    """A minute."""
    tokens: int = 0
    """A minute."""
    concurrency: int = 0
    """At once."""


class Draw(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A purse that a claim draws on: all of them hold the same amount."""

    purse: str
    floor: int = 0
    """What must be left in it at least; negative for one that may be overdrawn so far."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request claims."""

    scopes: tuple[Scope, ...] = ()
    tokens: int = 0
    draws: tuple[Draw, ...] = ()
    ticks: int = 0
    least_ticks: int = -1
    """When `ticks` is too much for some purse, as much as there is, but no less than this, will do;
    negative: all or nothing."""


class Answer(Enum):
    """What a gate says to a claim."""

    GRANTED = "granted"
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"
    PURSE = "purse"
    UNKNOWN = "unknown"


class Room(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is left of the tightest window, after this claim; for `x-ratelimit-*`."""

    limit: int
    remaining: int
    reset_s: float
    """Until the window is empty, if nothing else passes."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to a claim."""

    answer: Answer
    held_ticks: int = 0
    """What is held now; `ticks` of the claim, or less where that was allowed."""
    refused_by: str = ""
    """The name of the scope or purse that refused; of several scopes that
    with the longest wait, of several unknown purses the first."""
    unknown: tuple[str, ...] = ()
    """Every purse of the claim that is unknown."""
    retry_after_s: float = 0.0
    """For a window: when there will be room, if nothing else passes; 0 with TOKENS means never,
    because the claim alone is more than the limit. 0 for a purse; for concurrency a guess."""
    available: int = 0
    """What the refusing purse had left above its floor (the least of all draws, where several
    refuse); when granted, the least that is left of all draws after the hold."""
    requests: Room | None = None
    """Of the scope with the smallest part left; None when no scope limits them."""
    tokens: Room | None = None
    piece: int = NO_PIECE
    """In which piece of the window the tokens were counted; for `Return`."""


class Return(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A claim that is given back when its request has ended."""

    scopes: tuple[Scope, ...] = ()
    tokens: int = 0
    """By how much more (or, negative, less) than claimed the window's tokens are counted. More is
    counted now, when it became known; less is taken off where it was counted."""
    piece: int = NO_PIECE
    """The verdict's. Without it less is taken off the oldest pieces, which never lets too much pass
    but remembers the rest for longer than a minute."""
    draws: tuple[Draw, ...] = ()
    held_ticks: int = 0
    """What is held no more, of each draw."""
    owed_ticks: int = 0
    """What stays held of it (at most `held_ticks`): owed, but not in the books yet. It is given
    back by another `Return` once it is."""
    filled: Mapping[str, tuple[int, int]] = {}
    """What the books say of the purses since: ticks and seq, by purse; of those that are known."""


class Gate(Protocol):
    """See the module. Every failure is STORE_DOWN, within seconds."""

    is_far: bool
    """True when an answer takes a way over the network."""

    async def claim(self, claim: Claim) -> Verdict:
        """Grant all of a claim, or refuse it and change nothing."""
        ...

    async def extend(self, draws: Sequence[Draw], ticks: int) -> bool:
        """Hold so much more in each of the purses, or nothing; nothing of an unknown one either."""
        ...

    async def give_back(self, back: Return) -> None:
        """Give a claim back.

        Nothing is lost when this fails: the gate is told with its next success.
        """
        ...

    async def fill(
        self, purses: Mapping[str, tuple[int, int]], *, only_known: bool = False
    ) -> None:
        """Say what the books have in some purses: ticks and seq.

        With `only_known` those that nobody asked for stay unknown; all that is remembered of them
        is the seq.
        """
        ...

    async def available(self, purse: str) -> tuple[int, int] | None:
        """Return what a purse has and what is held of it; None for an unknown one."""
        ...

    async def heartbeat(self) -> None:
        """Say that this process lives; several times a second."""
        ...

    async def leave(self) -> None:
        """Give back all that this process holds; it must claim nothing after that."""
        ...

    async def close(self) -> None:
        """Release what is held of connections; `leave` comes first."""
        ...
