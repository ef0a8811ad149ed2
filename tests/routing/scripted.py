"""Upstreams that answer as a test says, and a store of standings that keeps what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.standings import Standing, StandingChange, Tally, Written
from groxy.wire.http import Outgoing
from groxy.wire.json import encode
from tests.routing.fleet import account


class Reply:
    """A reply as a transport hands it over; notes whether it was closed."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None):
        self.body, self.status, self.headers = body, status, headers or {}
        self.is_closed = False

    async def read(self, limit: int) -> bytes:
        """Return the whole body."""
        if len(self.body) > limit:
            raise GroxyError(ErrorKind.BAD_REPLY, "The upstream's reply is too large.")
        return self.body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self.body

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


class Transport:
    """Answers as the test says; notes what was sent and how many requests were open at once."""

    def __init__(self, answer: Callable[[str], Reply], takes_s: float = 0.0):
        self.answer, self.takes_s = answer, takes_s
        self.sent: list[Outgoing] = []
        self.replies: list[Reply] = []
        self.open = self.most_open = 0
        self.is_closed = False

    async def send(self, outgoing: Outgoing) -> Reply:
        """Answer after a while."""
        self.sent.append(outgoing)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.open -= 1
        self.replies.append(self.answer(outgoing.url))
        return self.replies[-1]

    async def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


class Standings:
    """Keeps what it is told, in place of the database; out of reach when a test says so."""

    def __init__(self) -> None:
        self.changes: list[StandingChange] = []
        self.tallies: list[Tally] = []
        self.is_down = False
        self.revision = 0
        self.elsewhere: list[Standing] = []
        """How accounts stand that an operator ordered about in another process."""
        self.before_write: Callable[[], None] = lambda: None
        self._is_writing, self._may_write = asyncio.Event(), asyncio.Event()
        self._may_write.set()

    def hold_writes(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Let writes wait; return what is set once one does, and what lets them go on."""
        self._may_write.clear()
        return self._is_writing, self._may_write

    async def write(self, changes: Sequence[StandingChange]) -> Written:
        """Keep changes."""
        self._is_writing.set()
        await self._may_write.wait()
        await asyncio.sleep(0)
        self.before_write()
        self._must_be_up()
        left_out = [
            standing
            for standing in self.elsewhere
            if any(
                one.account_id == standing.account_id and one.was is not UNSET for one in changes
            )
        ]
        left = {standing.account_id for standing in left_out}
        self.changes += [one for one in changes if one.account_id not in left]
        self.revision += 1
        return Written(self.revision, left_out)

    async def add_tallies(self, tallies: Sequence[Tally]) -> None:
        """Keep counts."""
        await asyncio.sleep(0)
        self._must_be_up()
        self.tallies += tallies

    def statuses(self) -> list[tuple[str, object, object]]:
        """Return account, status and reason of each change, in order."""
        return [(one.account_id, one.status, one.reason) for one in self.changes]

    def _must_be_up(self) -> None:
        if self.is_down:
            raise GroxyError(ErrorKind.STORE_DOWN, "The store is out of reach.", detail="locked")


def models(*names: str) -> Reply:
    """Return a list of models."""
    return Reply(encode({"object": "list", "data": [{"id": name} for name in names]}))


def fails(_: str = "") -> Reply:
    """Fail as a connection does that is refused."""
    raise GroxyError(
        ErrorKind.UPSTREAM_DOWN, "The upstream could not be reached.", detail="refused"
    )


def crashes(_: str = "") -> Reply:
    """Fail as a defect does."""
    message = "a defect"
    raise KeyError(message)


def always(body: bytes = b"{}", status: int = 200) -> Callable[[str], Reply]:
    """Return what answers every question alike."""
    return lambda _: Reply(body, status)


def account_at(
    answer: Callable[[str], Reply] | Transport,
    account_id: str = "acc_1",
    upstream: str = "openai_compatible",
    **changes: Any,
) -> Any:
    """Return an account whose upstream answers so; its transport is one of the above."""
    transport = answer if isinstance(answer, Transport) else Transport(answer)
    headers = {"Authorization": "Bearer xai-key"}
    return account(account_id, upstream, transport=transport, headers=headers, **changes)
