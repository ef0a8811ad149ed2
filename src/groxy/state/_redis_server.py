"""One Redis or Valkey server: commands and scripts to it, and its failures in our words.

In: commands and Lua scripts. Out: raw replies (bytes, integers, lists); STORE_DOWN for every
failure, in a bounded time. A server that comes back is found by the next call. Must not know what
the keys mean.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
)

from groxy.core.errors import ErrorKind, GroxyError

_SOCKET_TIMEOUT_S = 2.0
_PATIENCE_S = 3.0
"""For one call in all: waiting for a connection, connecting, asking."""
_AFTER_PATIENCE_S = 0.25
_MAX_CONNECTIONS = 16
_UNBOUNDED = 2**31

Word = str | bytes | int | float


class Script:
    """A Lua script, and the name that the server knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisServer:
    """Connections to a server."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        # The library leaves its calls untyped.
        self._execute: Callable[..., Awaitable[object]] = client.execute_command
        # The library's own bound can lose connections for ever when callers leave.
        self._turns = asyncio.Semaphore(_MAX_CONNECTIONS)

    @classmethod
    def connect(cls, url: str) -> Self:
        """Return the server at `url`; the connection is made with the first call."""
        # Once more and at once, because a pooled connection may have died since it was used last.
        # A server that does not answer in time is not asked twice.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        client = Redis.from_url(
            url,
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_SOCKET_TIMEOUT_S,
            retry=retry,
            retry_on_error=[ReadOnlyError],  # it is a replica now: the name may have a new server
            protocol=2,  # in 3 a server may speak unasked, and leftovers are harder to tell
            max_connections=_UNBOUNDED,
        )
        return cls(client)

    async def ask(self, *words: Word) -> Any:  # noqa: ANN401 - each command has a reply of its own
        """Return the reply to one command."""
        return await self._bounded(lambda: self._execute(*words))

    async def run(self, script: Script, keys: Sequence[str], *args: Word) -> Any:  # noqa: ANN401 - same
        """Return the reply of a script, which may run twice when the connection breaks."""

        async def call() -> object:
            words = (len(keys), *keys, *args)
            try:
                return await self._execute("EVALSHA", script.sha, *words)
            except NoScriptError:  # a server that was started again, or another one
                return await self._execute("EVAL", script.text, *words)

        return await self._bounded(call)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _bounded(self, call: Callable[[], Awaitable[object]]) -> object:
        try:
            # Twice, because the library may swallow the first, see `_cancellable`.
            async with (
                asyncio.timeout(_PATIENCE_S + _AFTER_PATIENCE_S),
                asyncio.timeout(_PATIENCE_S),
                self._turns,
            ):
                return await _cancellable(call)
        # uvloop raises RuntimeError for a connection that was closed just before we write.
        except (RedisError, OSError, RuntimeError) as error:
            raise GroxyError(
                ErrorKind.STORE_DOWN,
                "The shared state is not available right now. Try again.",
                detail=f"{type(error).__name__}: {error}",
                retry_after_s=1,
            ) from error


async def _cancellable(call: Callable[[], Awaitable[object]]) -> object:
    """Await a call of the library, which must not swallow that its caller was cancelled.

    `asyncio.wait_for`, with which it sends, may do so before Python 3.12 (python/cpython#86296).
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in one
    before = task.cancelling()
    try:
        return await call()
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError
