"""The gate of a gateway that is a single process.

In and out: see `state.gates`. Nothing here waits, so nothing needs a lock. What is idle is dropped:
scopes a minute after their last claim, purses without holds when there are too many.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec

from groxy.state.gates import (
    MAX_TICKS,
    NO_PIECE,
    PIECES,
    Answer,
    Claim,
    Draw,
    Return,
    Room,
    Scope,
    Verdict,
)

MAX_IDLE_PURSES = 100_000
_CONCURRENCY_RETRY_MS = 1000
_SWEPT_AT_ONCE = 2
"""For how many idle ones a new one looks: more than itself, so that they go in the end."""


class _Window:
    """What was counted in the last minute, the oldest piece first."""

    __slots__ = ("pieces", "total")

    def __init__(self) -> None:
        self.pieces: deque[list[int]] = deque()
        """The number of a piece, and what was counted in it."""
        self.total = 0

    def forget(self, gone: int) -> None:
        """Forget the pieces up to `gone`."""
        pieces = self.pieces
        while pieces and pieces[0][0] <= gone:
            self.total -= pieces.popleft()[1]

    def add(self, piece: int, amount: int) -> None:
        """Count in the newest piece."""
        pieces = self.pieces
        if pieces and pieces[-1][0] >= piece:
            pieces[-1][1] += amount
        else:
            pieces.append([piece, amount])
        self.total += amount

    def take(self, piece: int, amount: int) -> None:
        """Count less in a piece, or in the oldest ones; what was not counted is not taken off."""
        for entry in self.pieces:
            if piece in (NO_PIECE, entry[0]):
                taken = min(entry[1], amount)
                entry[1] -= taken
                self.total -= taken
                amount -= taken

    def piece_that_frees(self, amount: int) -> int:
        """Return the piece with whose end so much will have been forgotten."""
        for piece, counted in self.pieces:
            amount -= counted
            if amount <= 0:
                return piece
        raise ValueError("more than there is")


class _Counts:
    """What is counted of a scope."""

    __slots__ = ("places", "requests", "tokens", "touched")

    def __init__(self, piece: int) -> None:
        self.requests = _Window()
        self.tokens = _Window()
        self.places = 0
        self.touched = piece
        """The piece in which it was used last."""


class _Purse:
    """What is known of a purse, and what is held of it."""

    __slots__ = ("held", "seq", "ticks")

    def __init__(self) -> None:
        self.ticks: int | None = None
        self.seq = -1
        self.held = 0

    def fill(self, ticks: int, seq: int, *, only_known: bool) -> None:
        """Take what the books say, unless something newer is known."""
        if seq < self.seq or (self.ticks is not None and seq == self.seq):
            return
        self.seq = seq
        if self.ticks is not None or not only_known:
            self.ticks = clamped(ticks)


_Counted = list[tuple[Scope, _Counts]]


class _Fate(msgspec.Struct, gc=False):
    """What becomes of a claim; the fields are those of a verdict."""

    answer: Answer
    refused_by: str = ""
    wait_ms: int = 0
    held: int = 0
    available: int = 0
    unknown: tuple[str, ...] = ()


class MemoryGate:
    """See `state.gates.Gate`. `clock` gives seconds that never go back."""

    is_far = False

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, window_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._piece_ms = piece_ms_of(window_s)
        self._counts: dict[str, _Counts] = {}
        self._purses: dict[str, _Purse] = {}
        """Both in the order of their last use."""

    async def claim(self, claim: Claim) -> Verdict:
        """Grant all of a claim, or refuse it and change nothing."""
        now_ms = int(self._clock() * 1000)
        piece = now_ms // self._piece_ms
        counted = [(scope, self._counts_of(scope.name, piece)) for scope in claim.scopes]
        tokens, ticks = amount_of(claim.tokens), amount_of(claim.ticks)
        fate = self._try_scopes(counted, tokens, now_ms) or _Fate(Answer.GRANTED, held=ticks)
        purses: list[_Purse] = []
        if fate.answer is Answer.GRANTED and claim.draws:
            purses = [self._drawn_on(draw.purse) for draw in claim.draws]
            fate = _try_purses(claim.draws, purses, ticks, claim.least_ticks)
        if fate.answer is Answer.GRANTED:
            _count(counted, tokens, piece)
            for purse in purses:
                purse.held += fate.held
        requests, tokens_left = self._rooms(counted, now_ms)
        return Verdict(
            answer=fate.answer,
            held_ticks=fate.held,
            refused_by=fate.refused_by,
            unknown=fate.unknown,
            retry_after_s=fate.wait_ms / 1000,
            available=fate.available,
            requests=requests,
            tokens=tokens_left,
            piece=piece,
        )

    async def extend(self, draws: Sequence[Draw], ticks: int) -> bool:
        """Hold so much more in each of the purses, or nothing."""
        ticks = amount_of(ticks)
        purses = [self._drawn_on(draw.purse) for draw in draws]
        if draws and _try_purses(draws, purses, ticks, -1).answer is not Answer.GRANTED:
            return False
        for purse in purses:
            purse.held += ticks
        return True

    async def give_back(self, back: Return) -> None:
        """Give a claim back."""
        piece, given = int(self._clock() * 1000) // self._piece_ms, given_of(back)
        for scope in back.scopes:
            counts = self._counts_of(scope.name, piece)
            if scope.tokens and back.tokens > 0:
                counts.tokens.add(piece, back.tokens)
            elif scope.tokens and back.tokens < 0:
                counts.tokens.take(back.piece, -back.tokens)
            if scope.concurrency:
                counts.places = max(0, counts.places - 1)
        for draw in back.draws:
            purse = self._purse_of(draw.purse)
            purse.held = max(0, purse.held - given)
        self._fill(back.filled, only_known=True)

    async def fill(
        self, purses: Mapping[str, tuple[int, int]], *, only_known: bool = False
    ) -> None:
        """Say what the books have in some purses: ticks and seq."""
        self._fill(purses, only_known=only_known)

    def _fill(self, purses: Mapping[str, tuple[int, int]], *, only_known: bool) -> None:
        for name, (ticks, seq) in purses.items():
            self._purse_of(name).fill(ticks, seq, only_known=only_known)

    async def available(self, purse: str) -> tuple[int, int] | None:
        """Return what a purse has and what is held of it; None for an unknown one."""
        known = self._purses.get(purse)
        return None if known is None or known.ticks is None else (known.ticks, known.held)

    async def heartbeat(self) -> None:
        """A single process need not say that it lives."""

    async def leave(self) -> None:
        """What a single process holds ends with it."""

    async def close(self) -> None:
        """Memory has no connections."""

    # ------------------------------------------------------------------------------------- scopes

    def _counts_of(self, name: str, piece: int) -> _Counts:
        counts = self._counts.get(name)
        if counts is None:
            self._sweep_counts(piece)
            self._counts[name] = counts = _Counts(piece)
        elif counts.touched != piece:
            del self._counts[name]
            self._counts[name] = counts
            counts.touched = piece
            counts.requests.forget(piece - PIECES - 1)
            counts.tokens.forget(piece - PIECES - 1)
        return counts

    def _try_scopes(self, counted: _Counted, tokens: int, now_ms: int) -> _Fate | None:
        """Return the refusal that lasts longest, the first of equals; None when there is none."""
        found: list[_Fate] = []
        for scope, counts in counted:
            if 0 < scope.tokens < tokens:
                return _Fate(Answer.TOKENS, scope.name)
            if scope.requests and counts.requests.total >= scope.requests:
                over = counts.requests.total + 1 - scope.requests
                wait_ms = self._ends_in_ms(counts.requests.piece_that_frees(over), now_ms)
                found.append(_Fate(Answer.REQUESTS, scope.name, wait_ms))
            if scope.tokens and tokens and counts.tokens.total + tokens > scope.tokens:
                over = counts.tokens.total + tokens - scope.tokens
                wait_ms = self._ends_in_ms(counts.tokens.piece_that_frees(over), now_ms)
                found.append(_Fate(Answer.TOKENS, scope.name, wait_ms))
            if scope.concurrency and counts.places >= scope.concurrency:
                found.append(_Fate(Answer.CONCURRENCY, scope.name, _CONCURRENCY_RETRY_MS))
        return max(found, key=lambda fate: fate.wait_ms) if found else None

    def _ends_in_ms(self, piece: int, now_ms: int) -> int:
        return (piece + PIECES + 1) * self._piece_ms - now_ms

    def _rooms(self, counted: _Counted, now_ms: int) -> tuple[Room | None, Room | None]:
        """Return what is left of the tightest windows of requests and of tokens."""
        requests: tuple[int, _Window] | None = None
        tokens: tuple[int, _Window] | None = None
        least_requests = least_tokens = 2.0  # parts of a limit are 1 at most
        for scope, counts in counted:
            if scope.requests:
                part = max(0, scope.requests - counts.requests.total) / scope.requests
                if part < least_requests:
                    least_requests, requests = part, (scope.requests, counts.requests)
            if scope.tokens:
                part = max(0, scope.tokens - counts.tokens.total) / scope.tokens
                if part < least_tokens:
                    least_tokens, tokens = part, (scope.tokens, counts.tokens)
        return self._room(requests, now_ms), self._room(tokens, now_ms)

    def _room(self, tightest: tuple[int, _Window] | None, now_ms: int) -> Room | None:
        if tightest is None:
            return None
        limit, window = tightest
        reset_ms = self._ends_in_ms(window.pieces[-1][0], now_ms) if window.total else 0
        return Room(limit=limit, remaining=max(0, limit - window.total), reset_s=reset_ms / 1000)

    # ------------------------------------------------------------------------------------- purses

    def _purse_of(self, name: str) -> _Purse:
        purse = self._purses.get(name)
        if purse is None:
            self._sweep_purses()
            purse = self._purses[name] = _Purse()
        return purse

    def _drawn_on(self, name: str) -> _Purse:
        """Return a purse, which is the one that was used last now."""
        purse = self._purse_of(name)
        self._purses[name] = self._purses.pop(name)
        return purse

    # ------------------------------------------------------------------------------ what is idle

    def _sweep_counts(self, piece: int) -> None:
        for name in list(islice(self._counts, _SWEPT_AT_ONCE)):
            counts = self._counts[name]
            if counts.touched >= piece - PIECES - 1:
                break  # so are all others
            if counts.places:
                self._counts_of(name, piece)  # the last one now, looked at again in a minute
            else:
                del self._counts[name]

    def _sweep_purses(self) -> None:
        if len(self._purses) < MAX_IDLE_PURSES:
            return
        for name in list(islice(self._purses, _SWEPT_AT_ONCE)):
            purse = self._purses.pop(name)
            if purse.held:
                self._purses[name] = purse


def piece_ms_of(window_s: float) -> int:
    """Return how long a piece of a window is; windows are whole multiples of 240 ms."""
    piece_ms = round(window_s * 1000) // PIECES
    if piece_ms * PIECES != round(window_s * 1000) or piece_ms < 1:
        raise ValueError(f"window_s: {window_s:g} is no multiple of {PIECES / 1000:g} s")
    return piece_ms


def clamped(ticks: int) -> int:
    """Return ticks as a gate counts them."""
    return ticks if -MAX_TICKS <= ticks <= MAX_TICKS else max(-MAX_TICKS, min(ticks, MAX_TICKS))


def amount_of(amount: int) -> int:
    """Return what is claimed as a gate counts it."""
    return amount if 0 <= amount <= MAX_TICKS else max(0, min(amount, MAX_TICKS))


def given_of(back: Return) -> int:
    """Return what is held no more of each draw."""
    return max(0, clamped(back.held_ticks) - max(0, back.owed_ticks))


def _try_purses(draws: Sequence[Draw], purses: Sequence[_Purse], ticks: int, least: int) -> _Fate:
    unknown: list[str] = []
    available, tightest = MAX_TICKS + 1, ""
    for draw, purse in zip(draws, purses, strict=True):
        if purse.ticks is None:
            unknown.append(draw.purse)
            continue
        room = min(purse.ticks - clamped(draw.floor), MAX_TICKS) - purse.held
        if room < available:
            available, tightest = room, draw.purse
    if unknown:
        return _Fate(Answer.UNKNOWN, unknown[0], unknown=tuple(unknown))
    if available < (ticks if least < 0 else min(least, ticks)):
        return _Fate(Answer.PURSE, tightest, available=available)
    held = min(ticks, available)
    return _Fate(Answer.GRANTED, held=held, available=available - held)


def _count(counted: _Counted, tokens: int, piece: int) -> None:
    for scope, counts in counted:
        if scope.requests:
            counts.requests.add(piece, 1)
        if scope.tokens and tokens:
            counts.tokens.add(piece, tokens)
        if scope.concurrency:
            counts.places += 1
