"""A client that collects its reply, for those who ask the gateway from inside."""

import asyncio


class CollectedReply:
    """See `gateway.vigil.Client`: takes everything and never leaves."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []

    @property
    def body(self) -> bytes:
        """All that was sent so far."""
        return b"".join(self._pieces)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Note status and headers."""
        self.status, self.headers = status, headers

    async def send(self, body: bytes, *, is_last: bool) -> None:
        """Keep a part of the body."""
        del is_last
        self._pieces.append(body)

    async def gone(self) -> None:
        """Never return: who waits inside does not hang up."""
        await asyncio.Event().wait()
