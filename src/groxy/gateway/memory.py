"""Memory: what is kept from one request to the next, sealed and for its owner alone.

Kept replies (Responses' `store`), so that `previous_response_id` works over every upstream; sealed
thoughts of tool loops, for callers who do not get them; and summaries that callers carry
themselves, sealed (`compact`). Must not know a wire format: dialects say what is kept.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import OWN_SUMMARY, Asked, Dialect, Stateful
from groxy.store.kept import Kept, KeptRow, KeptStore
from groxy.store.secrets import InstallationSecret
from groxy.wire.json import decode_any, encode

REPLY = "reply"
_THOUGHTS = "thoughts"
_DAY_MS = 24 * 3600 * 1000
_REPLY_MS = 30 * _DAY_MS
_THOUGHTS_MS = 7 * _DAY_MS
"""A tool loop that pauses for longer goes on without."""
_MAX_CALLS = 500


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one gateway keeps for its callers."""

    kept: KeptStore
    secret: InstallationSecret
    clock_ms: Callable[[], int] = _now_ms

    async def recall(self, dialect: Dialect, asked: Asked, owner: str) -> tuple[Asked, str]:
        """Return a request with its history in it, and the id of the account that served last.

        Raises NOT_FOUND for a reply that this owner does not have, whoever else may have it.
        """
        stateful = cast("Stateful", dialect)  # No other dialect keeps or goes on.
        earlier: Sequence[Kept] = ()
        if asked.continues:
            earlier = await self.kept.chain(
                asked.continues, owner, REPLY, param="previous_response_id"
            )
            asked = stateful.continued(asked, [one.content for one in earlier], {})
        # Earlier turns may hold summaries too.
        if sealed := stateful.summaries(asked):
            opened = {one: self.opened(one, owner) for one in sealed}
            asked = stateful.continued(asked, (), opened)
        return asked, earlier[-1].account_id if earlier else ""

    async def replies(self, reply_id: str, owner: str, *, with_earlier: bool) -> list[bytes]:
        """Return a kept reply, after those that it goes on from if they are wanted too.

        Raises NOT_FOUND for one that this owner does not have, whoever else may have it.
        """
        if with_earlier:
            chain = await self.kept.chain(reply_id, owner, REPLY, param="response_id")
            return [one.content for one in chain]
        found = await self.kept.get(reply_id, owner, REPLY)
        if found is None:
            raise _no_such_reply()
        return [found.content]

    async def forget(self, reply_id: str, owner: str) -> None:
        """Delete a kept reply; raise NOT_FOUND for one that this owner does not have."""
        if not await self.kept.delete(reply_id, owner, REPLY):
            raise _no_such_reply()

    def reply_row(
        self, dialect: Dialect, asked: Asked, record: bytes, *, owner: str, account_id: str
    ) -> KeptRow:
        """Return a reply as it is to be kept, for 30 days."""
        reply_id, content = cast("Stateful", dialect).remembered(asked, record)
        return self._row(
            reply_id,
            REPLY,
            owner,
            content,
            parent=asked.continues or None,
            account_id=account_id,
            for_ms=_REPLY_MS,
        )

    def thoughts_row(self, sealed: list[str], call_ids: list[str], owner: str) -> KeptRow:
        """Return the thoughts that led to tool calls, to be kept until their results come.

        Some upstreams give the same call the same id each time; then the newest thoughts count.
        """
        content = encode({"calls": call_ids, "sealed": sealed})
        name = _thoughts_id(call_ids[0], owner)
        return self._row(name, _THOUGHTS, owner, content, for_ms=_THOUGHTS_MS)

    def _row(  # noqa: PLR0913 - a kept thing has that many parts
        self,
        name: str,
        kind: str,
        owner: str,
        content: bytes,
        *,
        for_ms: int,
        parent: str | None = None,
        account_id: str = "",
    ) -> KeptRow:
        now = self.clock_ms()
        return self.kept.row(
            Kept(
                id=name,
                kind=kind,
                owner=owner,
                parent=parent,
                account_id=account_id,
                state="done",
                created_ms=now,
                expires_ms=now + for_ms,
                content=content,
            )
        )

    async def thoughts(self, call_ids: list[str], owner: str) -> Mapping[str, tuple[str, ...]]:
        """Return the thoughts that led to tool calls, by the calls' ids, as far as known."""
        wanted = call_ids[-_MAX_CALLS:]
        found = await self.kept.many([_thoughts_id(one, owner) for one in wanted], owner, _THOUGHTS)
        known: dict[str, tuple[str, ...]] = {}
        for kept in found.values():
            content = decode_any(kept.content)
            for call_id in content["calls"]:
                known[call_id] = tuple(content["sealed"])
        return known

    def sealed(self, summary: str, owner: str) -> str:
        """Return a summary as a token that only this gateway opens, and only for its owner."""
        token = self.secret.seal(summary.encode(), owner=f"summary:{owner}")
        return OWN_SUMMARY + base64.urlsafe_b64encode(token).decode()

    def opened(self, token: str, owner: str) -> str:
        """Open what `sealed` made; raise BAD_REQUEST for anything else."""
        try:
            token_bytes = base64.urlsafe_b64decode(token.removeprefix(OWN_SUMMARY))
            return self.secret.open(token_bytes, owner=f"summary:{owner}").decode()
        except (binascii.Error, ValueError, GroxyError):
            message = (
                "A compaction item in `input` was not made here for you, or was changed. "
                "Send it back as POST /v1/responses/compact returned it."
            )
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="input") from None


def _thoughts_id(call_id: str, owner: str) -> str:
    seed = f"{owner}\0{call_id}".encode(errors="replace")
    return "calls_" + blake2b(seed, digest_size=16).hexdigest()


def _no_such_reply() -> GroxyError:
    message = "There is no such reply: it was not stored, was deleted, or is older than 30 days."
    return GroxyError(ErrorKind.NOT_FOUND, message, param="response_id")
