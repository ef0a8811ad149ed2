"""A meter: how many requests and tokens an account had in the last minute.

In: what is used, as it is used. Out: sums over the last minute. It counts in pieces of five seconds
and keeps each for a whole minute after its end, so that no minute, wherever it begins, holds more
than its sum says. It must not know bounds.
"""

_PIECE_S = 5.0
_PIECES = 13
"""Those of a minute, and the one that has begun."""


class Meter:
    """Counts for one account."""

    __slots__ = ("_newest", "_requests", "_tokens")

    def __init__(self) -> None:
        self._newest = 0
        self._requests = [0] * _PIECES
        self._tokens = [0] * _PIECES

    def add(self, requests: int, tokens: int, now: float) -> None:
        """Count what is used at this moment; fewer tokens than were counted before are negative."""
        self._turn(now)
        place = self._newest % _PIECES
        self._requests[place] += requests
        self._tokens[place] += tokens

    def requests(self, now: float) -> int:
        """Return the requests of the last minute."""
        self._turn(now)
        return sum(self._requests)

    def tokens(self, now: float) -> int:
        """Return the tokens of the last minute."""
        self._turn(now)
        return max(sum(self._tokens), 0)

    def _turn(self, now: float) -> None:
        newest = int(now // _PIECE_S)
        # A clock that is set back counts on in the piece that it was in.
        for piece in range(max(self._newest + 1, newest - _PIECES + 1), newest + 1):
            self._requests[piece % _PIECES] = self._tokens[piece % _PIECES] = 0
        self._newest = max(self._newest, newest)
