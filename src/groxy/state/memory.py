"""Shared state of a gateway that is a single process.

In and out: see `state._base`. It keeps no more than Redis would, and drops what is over.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

from groxy.state._base import MAX_HOMES, CoolDown, Load, add_loads

_T = TypeVar("_T")
_PRUNE_EVERY_S = 1.0


class MemoryState:
    """See `state._base.SharedState`."""

    def __init__(self) -> None:
        self._cooling: dict[str, CoolDown] = {}
        self._loads: _Expiring[dict[str, Load]] = _Expiring()
        self._leases: _Expiring[str] = _Expiring()
        self._jobs: _Expiring[bytes] = _Expiring()
        self._cancelled: _Expiring[bool] = _Expiring()
        self._homes: dict[str, tuple[int, str]] = {}
        """Conversation -> number of the change, account id; the oldest first."""
        self._newest_home = 0
        # A cursor of another object must not be taken for one of this.
        self._epoch = secrets.token_hex(8)

    async def cool(self, key: str, cool_down: CoolDown) -> None:
        """Let an account rest, or one model of it."""
        self._cooling[key] = cool_down

    async def warm(self, key: str) -> None:
        """End the rest of an account, or of one model of it."""
        self._cooling.pop(key, None)

    async def cooling(self) -> dict[str, CoolDown]:
        """Return everything that rests now."""
        now = time.time_ns() / 1e9
        for key in [key for key, rest in self._cooling.items() if not rest.until > now]:
            del self._cooling[key]
        return dict(self._cooling)

    async def publish_loads(self, process: str, loads: Mapping[str, Load], *, ttl_s: float) -> None:
        """Say what accounts do for `process`, in place of all that it said before."""
        self._loads.put(process, dict(loads), ttl_s)

    async def loads_of_others(self, process: str) -> dict[str, Load]:
        """Return what accounts do for all living processes but `process`, summed."""
        total: dict[str, Load] = {}
        for name, loads in self._loads.items():
            if name != process:
                add_loads(total, loads)
        return total

    async def publish_homes(self, homes: Mapping[str, str]) -> None:
        """Say which account knows which conversation."""
        for conversation, account_id in homes.items():
            self._newest_home += 1
            # Put at the end, also when it was there: the order is that of the changes.
            self._homes.pop(conversation, None)
            self._homes[conversation] = (self._newest_home, account_id)
        for conversation in list(islice(self._homes, max(0, len(self._homes) - MAX_HOMES))):
            del self._homes[conversation]

    async def homes_since(self, cursor: str) -> tuple[str, dict[str, str]]:
        """Return a new cursor, and the homes published since `cursor`."""
        epoch, _, number = cursor.partition(":")
        seen = int(number) if epoch == self._epoch and number.isdecimal() else 0
        found: list[tuple[str, str]] = []
        for conversation, (change, account_id) in reversed(self._homes.items()):
            if change <= seen:
                break
            found.append((conversation, account_id))
        found.reverse()
        return f"{self._epoch}:{self._newest_home}", dict(found)

    async def take_lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or renew the right to do `name` alone; False when somebody else has it."""
        if self._leases.get(name) not in (None, holder):
            return False
        self._leases.put(name, holder, ttl_s)
        return True

    async def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` back, if `holder` has it."""
        if self._leases.get(name) == holder:
            self._leases.drop(name)

    async def put_job(self, job_id: str, document: bytes, *, ttl_s: float) -> None:
        """Keep the document of a job, in place of its last one, for `ttl_s`."""
        self._jobs.put(job_id, bytes(document), ttl_s)

    async def get_job(self, job_id: str) -> bytes | None:
        """Return the newest document of a job; None when there is none any more."""
        return self._jobs.get(job_id)

    async def cancel_job(self, job_id: str, *, ttl_s: float) -> None:
        """Ask whoever runs the job to stop; the wish is kept for `ttl_s`."""
        self._cancelled.put(job_id, True, ttl_s)  # noqa: FBT003 - the value, not a switch

    async def is_job_cancelled(self, job_id: str) -> bool:
        """True when somebody asked for the job to stop."""
        return self._cancelled.get(job_id) is not None

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing is held."""


class _Expiring(Generic[_T]):
    """A map whose entries end after a time. Those that are over are dropped now and then."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, _T]] = {}
        self._pruned_at = 0.0

    def put(self, key: str, value: _T, ttl_s: float) -> None:
        now = time.monotonic()
        if now - self._pruned_at >= _PRUNE_EVERY_S:
            self._pruned_at = now
            self._entries = {name: item for name, item in self._entries.items() if item[0] > now}
        self._entries[key] = (now + ttl_s, value)

    def get(self, key: str) -> _T | None:
        ends_at, value = self._entries.get(key, (0.0, None))
        return value if ends_at > time.monotonic() else None

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    def items(self) -> Iterator[tuple[str, _T]]:
        now = time.monotonic()
        return ((key, value) for key, (ends_at, value) in self._entries.items() if ends_at > now)
