"""Shared state of a gateway that is many processes: Redis or Valkey.

One key per resting account, which expires by itself. Every failure of the server is STORE_DOWN.
"""

import time
from contextlib import suppress
from typing import Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from groxy.core.errors import ErrorKind, GroxyError
from groxy.state._base import CoolDown

_PREFIX = "groxy:cooling:"


class _Rest(msgspec.Struct):
    until: float
    reason: str


_decoder = msgspec.json.Decoder(_Rest)


class RedisState:
    """See `state._base.SharedState`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    @classmethod
    def connect(cls, url: str) -> Self:
        """Return the state at `url`; the connection is made with the first call."""
        return cls(Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2))

    async def cool(self, account_id: str, cool_down: CoolDown) -> None:
        """Let an account rest."""
        left_ms = int((cool_down.until - time.time_ns() / 1e9) * 1000)
        if left_ms <= 0:
            return await self.warm(account_id)
        value = msgspec.json.encode(_Rest(cool_down.until, cool_down.reason))
        try:
            await self._client.set(_PREFIX + account_id, value, px=left_ms)
        except (RedisError, OSError) as error:
            raise _down(error) from error

    async def warm(self, account_id: str) -> None:
        """End an account's rest."""
        try:
            await self._client.delete(_PREFIX + account_id)
        except (RedisError, OSError) as error:
            raise _down(error) from error

    async def cooling(self) -> dict[str, CoolDown]:
        """Return every account that rests."""
        resting: dict[str, CoolDown] = {}
        try:
            names = [name async for name in self._client.scan_iter(_PREFIX + "*", count=1000)]
            values = await self._client.mget(names) if names else []
        except (RedisError, OSError) as error:
            raise _down(error) from error
        for name, value in zip(names, values, strict=True):
            if value is not None:
                # What another version of Groxy may have written tells us nothing.
                with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    rest = _decoder.decode(value)
                    account_id = name.decode().removeprefix(_PREFIX)
                    resting[account_id] = CoolDown(until=rest.until, reason=rest.reason)
        return resting

    async def ping(self) -> None:
        """Raise STORE_DOWN when the server is out of reach."""
        try:
            await self._client.ping()
        except (RedisError, OSError) as error:
            raise _down(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _down(error: Exception) -> GroxyError:
    return GroxyError(
        ErrorKind.STORE_DOWN,
        "The shared state is not available right now. Try again.",
        detail=f"{type(error).__name__}: {error}",
        retry_after_s=1,
    )
