"""What shared state offers, whoever keeps it.

Times that two processes compare are unix seconds; times to live are counted by whoever keeps the
state. Everything here is fast state: it may be lost, and then it is learned again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

MAX_HOMES = 100_000
"""How many conversations have a home that every process knows; the newest ones stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """Why and how long an account rests, or one model of it. Times are unix seconds."""

    until: float
    """May be infinite."""
    reason: str


class Load(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one account does for one process, or for several together."""

    in_flight: int
    """Requests that are under way now."""
    minute: int
    """The unix minute in which the two counts below were made."""
    requests: int
    tokens: int


class SharedState(Protocol):
    """State that every process of a gateway sees. Every failure is STORE_DOWN, within seconds."""

    async def cool(self, key: str, cool_down: CoolDown) -> None:
        """Let an account rest (`key`: its id), or one model of it (id, line break, model id).

        Replaces what was said of it before; a rest that is over already ends the one before.
        """
        ...

    async def warm(self, key: str) -> None:
        """End the rest of an account, or of one model of it."""
        ...

    async def cooling(self) -> dict[str, CoolDown]:
        """Return everything that rests now, by key. The caller may change what it gets."""
        ...

    async def publish_loads(self, process: str, loads: Mapping[str, Load], *, ttl_s: float) -> None:
        """Say what accounts do for `process`, in place of all that it said before.

        Accounts that do nothing should be left out. When `ttl_s` passes without another word from
        the process, it counts as dead and its loads as gone.
        """
        ...

    async def loads_of_others(self, process: str) -> dict[str, Load]:
        """Return what accounts do for all living processes but `process`, summed, by account id.

        `minute` is the newest that anyone counts in for that account; the counts of those who are
        still in an older minute are left out, their requests in flight are not.
        """
        ...

    async def publish_homes(self, homes: Mapping[str, str]) -> None:
        """Say which account knows which conversation: conversation -> account id."""
        ...

    async def homes_since(self, cursor: str) -> tuple[str, dict[str, str]]:
        """Return a new cursor, and the homes published since `cursor`, the oldest first.

        "" and cursors of a state that is no more bring everything: the newest 100,000.
        """
        ...

    async def take_lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or renew the right to do `name` alone; False when somebody else has it.

        It ends `ttl_s` after it was last taken. A state that lost its memory may give it to a
        second holder while the first one still works: what is done twice must do no harm.
        """
        ...

    async def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` back, if `holder` has it."""
        ...

    async def put_job(self, job_id: str, document: bytes, *, ttl_s: float) -> None:
        """Keep the document of a job, in place of its last one, for `ttl_s`."""
        ...

    async def get_job(self, job_id: str) -> bytes | None:
        """Return the newest document of a job; None when there is none any more."""
        ...

    async def cancel_job(self, job_id: str, *, ttl_s: float) -> None:
        """Ask whoever runs the job to stop; the wish is kept for `ttl_s`."""
        ...

    async def is_job_cancelled(self, job_id: str) -> bool:
        """True when somebody asked for the job to stop."""
        ...

    async def ping(self) -> None:
        """Raise STORE_DOWN when the state is out of reach."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


def add_loads(total: dict[str, Load], loads: Mapping[str, Load]) -> None:
    """Add what one more process said to `total`; see `SharedState.loads_of_others`."""
    for account_id, load in loads.items():
        known = total.get(account_id)
        total[account_id] = load if known is None else _joined(known, load)


def _joined(one: Load, other: Load) -> Load:
    in_flight = one.in_flight + other.in_flight
    if one.minute == other.minute:
        requests, tokens = one.requests + other.requests, one.tokens + other.tokens
        return Load(in_flight, one.minute, requests, tokens)
    newer = one if one.minute > other.minute else other
    return Load(in_flight, newer.minute, newer.requests, newer.tokens)
