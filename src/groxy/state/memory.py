"""Shared state of a gateway that is a single process."""

import time

from groxy.state._base import CoolDown


class MemoryState:
    """See `state._base.SharedState`."""

    def __init__(self) -> None:
        self._cooling: dict[str, CoolDown] = {}

    async def cool(self, account_id: str, cool_down: CoolDown) -> None:
        """Let an account rest."""
        self._cooling[account_id] = cool_down

    async def warm(self, account_id: str) -> None:
        """End an account's rest."""
        self._cooling.pop(account_id, None)

    async def cooling(self) -> dict[str, CoolDown]:
        """Return every account that rests."""
        now = time.time_ns() / 1e9
        self._cooling = {key: rest for key, rest in self._cooling.items() if rest.until > now}
        return dict(self._cooling)

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing is held."""
