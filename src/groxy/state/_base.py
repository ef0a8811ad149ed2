"""What shared state offers, whoever keeps it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """Why and how long an account rests. Times are unix seconds."""

    until: float
    reason: str


class SharedState(Protocol):
    """State that every process of a gateway sees."""

    async def cool(self, account_id: str, cool_down: CoolDown) -> None:
        """Let an account rest."""
        ...

    async def warm(self, account_id: str) -> None:
        """End an account's rest."""
        ...

    async def cooling(self) -> dict[str, CoolDown]:
        """Return every account that rests."""
        ...

    async def ping(self) -> None:
        """Raise STORE_DOWN when the state is out of reach."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...
