"""The sandbox in-process: looks to the gateway like any other way to an upstream.

In: an `Outgoing` request. Out: a `Reply` that never saw a socket. A connection that the sandbox is
asked to drop ends in the same STREAM_BROKEN as one on the network.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.faults import Repeats
from groxy.upstreams.sandbox.keys import Keys
from groxy.upstreams.sandbox.server import DIALECTS, Sandbox, SandboxReply
from groxy.upstreams.sandbox.studio import Studio
from groxy.wire.http import Outgoing, Reply


class SandboxTransport:
    """Carries requests to a sandbox in this process; see `wire.http.Transport`.

    `repeats` may be shared, so that `times=1` fails once and not once an account; `keys` too, so
    that a key's script and files outlive its account; and `studio`, which keeps films.
    """

    def __init__(
        self,
        models: Sequence[str] = (),
        tokens_per_s: float = 0.0,
        repeats: Repeats | None = None,
        dialects: Sequence[str] = DIALECTS,
        keys: Keys | None = None,
        studio: Studio | None = None,
    ) -> None:
        self._sandbox = Sandbox(models, tokens_per_s, repeats, dialects, keys, studio)

    async def send(self, outgoing: Outgoing) -> Reply:
        """Answer a request and return once the reply's head would be there."""
        if outgoing.on_sent is not None:
            outgoing.on_sent()
        path = "/" + outgoing.url.partition("://")[2].partition("/")[2]
        headers = {name.lower(): value for name, value in outgoing.headers.items()}
        reply = self._sandbox.answer(outgoing.method, path, headers, outgoing.body)
        if reply.head_after_s:
            await asyncio.sleep(reply.head_after_s)
        return _InProcessReply(reply)

    async def close(self) -> None:
        """Close nothing: nothing is open."""


class _Headers(dict[str, str]):
    """Headers with lower-case names that are found in any case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return a header, or `default`."""
        return super().get(name.lower(), default)


class _InProcessReply:
    """See `wire.http.Reply`."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, reply: SandboxReply) -> None:
        self._status = reply.status
        self._headers = _Headers(reply.headers)
        self._body = reply.body

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; looking one up ignores case."""
        return self._headers

    async def read(self, limit: int) -> bytes:
        """Return the whole body, or raise BAD_REPLY when it is longer than `limit` bytes."""
        body = b"".join([chunk async for chunk in self._body])
        if len(body) > limit:
            raise GroxyError(
                ErrorKind.BAD_REPLY,
                "The upstream's reply is too large.",
                detail=f"reply over {limit} bytes",
            )
        return body

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives."""
        async for chunk in self._body:
            yield chunk

    def release(self) -> None:
        """There is no connection to keep."""

    def close(self) -> None:
        """Stop the answer if it was not read to its end."""
        self._body.close()
