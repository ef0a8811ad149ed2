"""Affinity: which account served a conversation last, so that its prompt is found in the cache.

In: conversations that were served. Out: the account of one. It is a hint that may be forgotten:
each process has its own, in memory, and the oldest ones go. It must not know whether an account
is well: who asks does.
"""

from collections import OrderedDict

_MOST = 100_000
"""Conversations remembered: some 25 MB."""


class Affinity:
    """Accounts by conversation; what was not used for longest is forgotten first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._homes: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        """How many conversations are remembered."""
        return len(self._homes)

    def home_of(self, conversation: str) -> str:
        """Return the id of the account that served a conversation last; empty when not known."""
        home = self._homes.get(conversation)
        if home is None:
            return ""
        self._homes.move_to_end(conversation)
        return home

    def remember(self, conversation: str, account_id: str) -> None:
        """Note that an account served a turn of a conversation."""
        self._homes[conversation] = account_id
        self._homes.move_to_end(conversation)
        if len(self._homes) > self._most:
            self._homes.popitem(last=False)
