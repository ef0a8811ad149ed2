"""Budgets: a stream ends before what is held for it is used up.

In: what was written so far, as it comes. Out: whether it may go on. It is counted exactly only when
it may have reached the end: a token has a third of a character at the least. Whoever pays for it
may have more: then that is held, too, before it is written. Must not end a stream itself.
"""

from groxy.core.tokens import TokenCounter
from groxy.dialects._base import Tally
from groxy.gateway.estimate import Quote
from groxy.policy.admission import Pass

_RESERVE = 50
"""One part in so many is left, and a few tokens, for an event that has more than one token."""
_RESERVE_TOKENS = 4
_MORE_TOKENS = 2_000
"""How many tokens more are held when a stream goes on beyond what was held at first."""
_LEAST_TOKENS = 50
_TOKENS_PER_CHAR = 3


class Budget:
    """Of one attempt."""

    def __init__(self, admitted: Pass, quote: Quote, counter: TokenCounter) -> None:
        self._pass = admitted
        self._quote = quote
        self._counter = counter
        self._seen = 0
        """How many pieces of the tally were looked at."""
        self._chars = 0
        self._uncounted: list[str] = []
        self._counted = 0
        self._limit = self._affordable()
        self._look_at = self._limit // _TOKENS_PER_CHAR

    def covers(self, tally: Tally) -> bool:
        """Return whether what was written so far is paid for."""
        fresh = tally.output[self._seen :]
        self._seen += len(fresh)
        self._uncounted += fresh
        self._chars += sum(map(len, fresh))
        if self._chars < self._look_at:
            return True
        self._counted += self._counter.count("".join(self._uncounted)) if self._uncounted else 0
        self._uncounted = []
        left = self._limit - self._counted
        self._look_at = self._chars + max(left // _TOKENS_PER_CHAR, 1)
        return left > 0

    async def extend(self) -> bool:
        """Hold more; return whether the stream may go on."""
        quote, held = self._quote, self._pass.held_ticks
        if not self._pass.is_metered:
            return False
        each = quote.ticks(self._counted + _MORE_TOKENS) - quote.ticks(self._counted)
        most = each if quote.max_ticks is None else min(each, quote.max_ticks - held)
        least = each * _LEAST_TOKENS // _MORE_TOKENS
        if most <= least or not await self._pass.extend(most, least_ticks=least):
            return False
        self._limit = self._affordable()
        self._look_at = self._chars
        return self._limit > self._counted

    def _affordable(self) -> int:
        quote = self._quote
        ticks = self._pass.held_ticks if self._pass.is_metered else quote.max_ticks
        if not quote.prices or ticks is None:
            return 2**62
        tokens = quote.affordable(ticks)
        return max(tokens - tokens // _RESERVE - _RESERVE_TOKENS, 1)
