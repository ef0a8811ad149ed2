"""Affinity: which account served a conversation last, so that its prompt is found in the cache.

In: conversations that were served, here and in other processes. Out: the account of one. It is a
hint that may be forgotten: the oldest ones go. It must not know whether an account is well: who
asks does.
"""

from collections import OrderedDict
from collections.abc import Mapping

_MOST = 100_000
"""Conversations remembered: some 25 MB."""


class Affinity:
    """Accounts by conversation; what was not used for longest is forgotten first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._homes: OrderedDict[str, str] = OrderedDict()
        self.news: dict[str, str] = {}
        """Homes that other processes do not know of yet."""

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
        if self._homes.get(conversation) != account_id and len(self.news) < self._most:
            self.news[conversation] = account_id
        self._put(conversation, account_id)

    def take(self, homes: Mapping[str, str]) -> None:
        """Take over what other processes served; what was served here meanwhile is newer."""
        for conversation, account_id in homes.items():
            if conversation not in self.news:
                self._put(conversation, account_id)

    def _put(self, conversation: str, account_id: str) -> None:
        self._homes[conversation] = account_id
        self._homes.move_to_end(conversation)
        if len(self._homes) > self._most:
            self._homes.popitem(last=False)
