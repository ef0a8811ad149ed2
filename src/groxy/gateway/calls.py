"""Calls under way, by the key that they are of: they end when the key does.

In: each call while it asks upstreams. Out: an error for those whose key is not in force any more.
What they had made by then is charged, as for a client that leaves.
"""

from collections.abc import Callable

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.vigil import Vigil

ENDED = "key_ended"
"""The code of what was ended because its key was."""


class OpenCalls:
    """Calls of this process."""

    def __init__(self, is_in_force: Callable[[str], bool] = lambda key_id: True) -> None:
        self._is_in_force = is_in_force
        self._by_key: dict[str, set[Vigil]] = {}

    def enter(self, key_id: str, vigil: Vigil) -> None:
        """Count a call as one of a key, until `leave`; raise BAD_KEY if the key is none any more.

        It may have had to wait since it was looked at, for a place or for what it can cost.
        """
        if not self._is_in_force(key_id):
            raise _ended()
        self._by_key.setdefault(key_id, set()).add(vigil)

    def leave(self, key_id: str, vigil: Vigil) -> None:
        """Note that a call is over."""
        calls = self._by_key[key_id]
        calls.discard(vigil)
        if not calls:
            del self._by_key[key_id]

    def end(self) -> int:
        """End the calls of keys that are not in force; return how many that are."""
        ended = 0
        for key_id, calls in self._by_key.items():
            if not self._is_in_force(key_id):
                for vigil in calls:
                    vigil.end(_ended())
                    ended += 1
        return ended


def _ended() -> GroxyError:
    message = "The API key was revoked or disabled while the reply was on its way."
    return GroxyError(ErrorKind.BAD_KEY, message, code=ENDED)
