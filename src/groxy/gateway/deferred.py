"""Deferred replies: the answer is worked out meanwhile, and fetched once within a day.

xAI has this on chat (docs.x.ai, deferred-chat-completions, 2026); the gateway does it itself, so
that it works over every upstream. In: a call. Out: an id, and later the reply exactly once. The
reply is stored in the transaction that enters its request in the books: whatever dies or is away,
there are both or neither. A gateway that is killed meanwhile asks nobody twice: the reply becomes
an error that says so.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.means import Call
from groxy.gateway.pipeline import Gateway
from groxy.gateway.recording import Recording
from groxy.observe.logs import Logger, get_logger
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
    log: Logger = field(default_factory=lambda: get_logger("deferred"))
    _working: set[str] = field(default_factory=set)
    _spooled: dict[str, str] = field(default_factory=dict)
    """The owners, by id, of replies that are there, but not in the database, which was away."""

    async def begin(self, call: Call) -> str:
        """Begin to answer; return the id under which the reply can be fetched."""
        now = self.clock_ms()
        owner, deferred_id = call.caller.key_id, call.request_id.removeprefix("req_")
        if call.recording is not None:
            deferred_id = _id_of(call.recording)
            if await self.kept.get(deferred_id, owner, _KIND) is not None:
                return deferred_id  # A process died before it could tell its caller.
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
        self.spawn(self._work(pending, call))
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
        # Nobody could say so while the database was away.
        is_here = deferred_id in self._working or deferred_id in self._spooled
        if not is_here and (kept.lease_ms or 0) < self.clock_ms():
            await self.kept.delete(deferred_id, owner, _KIND)
            message = "The gateway was stopped before this reply was complete. Ask again."
            raise GroxyError(ErrorKind.INTERNAL, message)
        return None

    async def renew(self) -> None:
        """Say of every reply that is not there yet that it is under way here."""
        under_way = self._working | self._spooled.keys()
        if under_way:
            await self.kept.renew(sorted(under_way), self.clock_ms() + _LEASE_MS)
        for deferred_id, owner in list(self._spooled.items()):
            kept = await self.kept.get(deferred_id, owner, _KIND)
            if kept is None or kept.state == _DONE:
                self._spooled.pop(deferred_id, None)

    async def _work(self, pending: Kept, call: Call) -> None:
        # Not what the call came with: what that records is the receipt.
        recording = Recording(
            pending.id, owner=pending.owner, request_id=call.request_id, fingerprint=b""
        )
        try:
            call = msgspec.structs.replace(call, recording=recording)
            await self.gateway.answer(call, recording)
        finally:
            # Also when the gateway stops: what was paid for is not lost.
            await asyncio.shield(self._conclude(pending, call, recording))

    async def _conclude(self, pending: Kept, call: Call, recording: Recording) -> None:
        """Let a reply be there; if that fails, its lease ends and the caller is told."""
        try:
            await self._enter(pending, call, recording)
        except GroxyError as error:
            self.log.error("reply not kept", request=call.request_id, detail=error.detail)
        finally:
            if recording.is_spooled:
                self._spooled[pending.id] = pending.owner
            self._working.discard(pending.id)

    async def _enter(self, pending: Kept, call: Call, recording: Recording) -> None:
        """Enter the request in the books, and with it the reply, in place of the pending one."""
        content = _content(recording.status, recording.body)
        if recording.enter is not None:
            done = replace(pending, state=_DONE, lease_ms=None, content=content)
            error = await recording.enter([self.kept.row(done)])
            if error is None:
                return
            content = _content(error.facts.status, call.dialect.encode_error(error))
        # It is in no books, so nobody pays for it: what is there to fetch is why.
        await self.kept.replace(pending.id, pending.owner, _DONE, content)


def _content(status: int, body: bytes) -> bytes:
    return b"%d\n" % status + body
