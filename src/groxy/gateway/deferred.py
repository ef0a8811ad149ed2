"""Deferred replies: the answer is worked out meanwhile, and fetched once within a day.

xAI has this on chat (docs.x.ai, deferred-chat-completions, 2026); the gateway does it itself, so
that it works over every upstream. In: a call. Out: an id, and later the reply exactly once. A
gateway that is killed meanwhile asks nobody twice: the reply becomes an error that says so.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.collected import CollectedReply
from groxy.gateway.means import Call
from groxy.gateway.pipeline import Gateway
from groxy.gateway.recording import Recording
from groxy.store.kept import Kept, KeptStore

_KIND = "deferred"
_PENDING, _DONE = "pending", "done"
_KEPT_MS = 24 * 3600 * 1000
_LEASE_MS = 60_000
"""A pending reply whose process has not said for so long that it is at work is lost."""
RENEW_EVERY_S = 15.0


def _id_of(recording: Recording) -> str:
    """Return the id of what is deferred by a request that can be sent again."""
    seed = f"{recording.name}\0{recording.fingerprint.hex()}".encode()
    return hashlib.sha256(seed).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A deferred reply as it would have come."""

    status: int
    body: bytes


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True, kw_only=True)
class DeferredReplies:
    """All deferred replies of a gateway. `spawn` runs a coroutine until the gateway stops."""

    gateway: Gateway
    kept: KeptStore
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    clock_ms: Callable[[], int] = _now_ms
    _working: set[str] = field(default_factory=set)

    async def begin(self, call: Call) -> str:
        """Begin to answer; return the id under which the reply can be fetched."""
        now = self.clock_ms()
        owner, deferred_id = call.caller.key_id, call.request_id.removeprefix("req_")
        if call.recording is not None:
            deferred_id = _id_of(call.recording)
            if await self.kept.get(deferred_id, owner, _KIND) is not None:
                return deferred_id  # A process died before it could tell its caller.
            # What is recorded is the receipt.
            call = msgspec.structs.replace(call, recording=None)
        pending = Kept(
            id=deferred_id,
            kind=_KIND,
            owner=owner,
            parent=None,
            account_id="",
            state=_PENDING,
            created_ms=now,
            expires_ms=now + _KEPT_MS,
            lease_ms=now + _LEASE_MS,
            content=b"",
        )
        await self.kept.keep([self.kept.row(pending)])
        self._working.add(deferred_id)
        self.spawn(self._work(deferred_id, call))
        return deferred_id

    async def fetch(self, deferred_id: str, owner: str) -> Fetched | None:
        """Return a reply, for the only time; None while it is not there yet.

        Raises NOT_FOUND for one that is not this owner's, was fetched before, or is too old.
        """
        kept = await self.kept.take(deferred_id, owner, _KIND)
        if kept is None:
            message = (
                "There is no such deferred reply: it was fetched before, or is older than a day."
            )
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="request_id")
        if kept.state == _DONE:
            status, _, body = kept.content.partition(b"\n")
            return Fetched(status=int(status), body=body)
        if (kept.lease_ms or 0) < self.clock_ms():
            await self.kept.delete(deferred_id, owner, _KIND)
            message = "The gateway was stopped before this reply was complete. Ask again."
            raise GroxyError(ErrorKind.INTERNAL, message)
        return None

    async def renew(self) -> None:
        """Say of every reply under way here that it is."""
        if self._working:
            await self.kept.renew(sorted(self._working), self.clock_ms() + _LEASE_MS)

    async def _work(self, deferred_id: str, call: Call) -> None:
        client = CollectedReply()
        try:
            await self.gateway.answer(call, client)
        finally:
            content = b"%d\n" % client.status + client.body
            # Also when the gateway stops: what was paid for is not lost.
            await asyncio.shield(self.kept.replace(deferred_id, call.caller.key_id, _DONE, content))
            self._working.discard(deferred_id)
