"""Shared state of a gateway that is many processes: Redis 6.2 or newer, or Valkey.

In and out: see `state._base`. All keys begin with `groxy:`, and all of them leave the server by
themselves. What another version of Groxy wrote and we do not understand is passed over.

- `groxy:rests:*`, `groxy:homes:*`: two maps with a log of their changes, see `_feed`
- `groxy:loads:{values,digests,ends}`: process -> what it said, a digest of that, when it is dead
- `groxy:lease:<name>`, `groxy:job:<id>`, `groxy:job-cancelled:<id>`: plain values that expire
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import msgspec

from groxy.state._base import MAX_HOMES, CoolDown, Load, add_loads
from groxy.state._feed import GONE_KEPT_S, NOWHERE, Changes, Cursor, Feed
from groxy.state._redis_server import RedisServer, Script

_HOMES_KEPT_S = 86_400.0
_LOADS = tuple(f"groxy:loads:{part}" for part in ("values", "digests", "ends"))
_LEASE, _JOB, _CANCELLED = "groxy:lease:", "groxy:job:", "groxy:job-cancelled:"

_PUBLISH_LOADS = Script("""
local values, digests, ends = KEYS[1], KEYS[2], KEYS[3]
local process, digest, loads, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
redis.call('HSET', values, process, loads)
redis.call('HSET', digests, process, digest)
redis.call('ZADD', ends, time[1] * 1000 + math.floor(time[2] / 1000) + ttl_ms, process)
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < ttl_ms then redis.call('PEXPIRE', key, ttl_ms) end
end
""")

# ARGV: the process that asks, then pairs of a process and the digest of what is known of it.
_READ_LOADS = Script("""
local values, digests, ends = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = redis.call('ZRANGEBYSCORE', ends, '-inf', now_ms, 'LIMIT', 0, 1000)
if #dead > 0 then
  redis.call('HDEL', values, unpack(dead))
  redis.call('HDEL', digests, unpack(dead))
  redis.call('ZREM', ends, unpack(dead))
end
local known = {}
for index = 2, #ARGV, 2 do known[ARGV[index]] = ARGV[index + 1] end
local living = {}
for _, process in ipairs(redis.call('ZRANGEBYSCORE', ends, '(' .. now_ms, '+inf')) do
  if process ~= ARGV[1] then
    local digest = redis.call('HGET', digests, process)
    if digest then
      local loads = false
      if known[process] ~= digest then loads = redis.call('HGET', values, process) end
      living[#living + 1] = {process, digest, loads}
    end
  end
end
return living
""")

_TAKE_LEASE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")

_DROP_LEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")


class _Rest(msgspec.Struct):
    until: float
    reason: str


# MessagePack, because a rest may have no end and JSON has no infinity.
_encoder = msgspec.msgpack.Encoder()
_rests = msgspec.msgpack.Decoder(_Rest)
_loads = msgspec.msgpack.Decoder(dict[str, Load])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The rests as they were read last. Never changed, so calls at the same time do no harm."""

    cursor: Cursor
    read_at: float
    """By the monotonic clock."""
    rests: dict[str, CoolDown]


class RedisState:
    """See `state._base.SharedState`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._rests = Feed(server, "groxy:rests", has_ends=True)
        self._homes = Feed(server, "groxy:homes", has_ends=False)
        self._seen = _Seen(NOWHERE, 0.0, {})
        self._heard: dict[bytes, tuple[bytes, dict[str, Load]]] = {}
        """Of other processes: the digest of what each said last, and what it said."""

    @classmethod
    def connect(cls, url: str) -> Self:
        """Return the state at `url`; the connection is made with the first call."""
        return cls(RedisServer.connect(url))

    async def cool(self, key: str, cool_down: CoolDown) -> None:
        """Let an account rest, or one model of it."""
        left_s = cool_down.until - time.time_ns() / 1e9
        if not left_s > 0:
            return await self.warm(key)
        value = _encoder.encode(_Rest(cool_down.until, cool_down.reason))
        return await self._rests.put_for(key, value, left_s=left_s)

    async def warm(self, key: str) -> None:
        """End the rest of an account, or of one model of it."""
        await self._rests.take_away(key)

    async def cooling(self) -> dict[str, CoolDown]:
        """Return everything that rests now; only what changed since the last call is read."""
        seen, now = self._seen, time.monotonic()
        is_fresh = now - seen.read_at < GONE_KEPT_S / 2
        changes = await self._rests.changes_since(seen.cursor if is_fresh else NOWHERE)
        rests = _after(seen.rests, changes)
        # A new dict each time: what is handed out is the caller's.
        self._seen = _Seen(changes.cursor, now, rests)
        return dict(rests)

    async def publish_loads(self, process: str, loads: Mapping[str, Load], *, ttl_s: float) -> None:
        """Say what accounts do for `process`, in place of all that it said before."""
        said = _encoder.encode(loads)
        digest = hashlib.blake2b(said, digest_size=16).digest()
        await self._server.run(_PUBLISH_LOADS, _LOADS, process, digest, said, _ms(ttl_s))

    async def loads_of_others(self, process: str) -> dict[str, Load]:
        """Return what accounts do for all living processes but `process`, summed."""
        before = self._heard  # another call may replace it meanwhile
        known = [word for name, (digest, _) in before.items() for word in (name, digest)]
        heard: dict[bytes, tuple[bytes, dict[str, Load]]] = {}
        for name, digest, said in await self._server.run(_READ_LOADS, _LOADS, process, *known):
            if said is not None:
                with suppress(*_UNREADABLE):
                    heard[name] = (digest, _loads.decode(said))
            else:
                heard[name] = before[name]
        self._heard = heard
        total: dict[str, Load] = {}
        for _, loads in heard.values():
            add_loads(total, loads)
            await asyncio.sleep(0)  # 10,000 accounts take milliseconds for each process
        return total

    async def publish_homes(self, homes: Mapping[str, str]) -> None:
        """Say which account knows which conversation."""
        await self._homes.put(homes, limit=MAX_HOMES, ttl_s=_HOMES_KEPT_S)

    async def homes_since(self, cursor: str) -> tuple[str, dict[str, str]]:
        """Return a new cursor, and the homes published since `cursor`."""
        changes = await self._homes.changes_since(Cursor.read(cursor))
        homes: dict[str, str] = {}
        for conversation, account_id in changes.values.items():
            with suppress(UnicodeDecodeError):
                homes[conversation.decode()] = account_id.decode()
        return str(changes.cursor), homes

    async def take_lease(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or renew the right to do `name` alone; False when somebody else has it."""
        taken = await self._server.run(_TAKE_LEASE, (_LEASE + name,), holder, _ms(ttl_s))
        return bool(taken)

    async def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` back, if `holder` has it."""
        await self._server.run(_DROP_LEASE, (_LEASE + name,), holder)

    async def put_job(self, job_id: str, document: bytes, *, ttl_s: float) -> None:
        """Keep the document of a job, in place of its last one, for `ttl_s`."""
        await self._server.ask("SET", _JOB + job_id, document, "PX", _ms(ttl_s))

    async def get_job(self, job_id: str) -> bytes | None:
        """Return the newest document of a job; None when there is none any more."""
        document: bytes | None = await self._server.ask("GET", _JOB + job_id)
        return document

    async def cancel_job(self, job_id: str, *, ttl_s: float) -> None:
        """Ask whoever runs the job to stop; the wish is kept for `ttl_s`."""
        await self._server.ask("SET", _CANCELLED + job_id, "1", "PX", _ms(ttl_s))

    async def is_job_cancelled(self, job_id: str) -> bool:
        """True when somebody asked for the job to stop."""
        return bool(await self._server.ask("EXISTS", _CANCELLED + job_id))

    async def ping(self) -> None:
        """Raise STORE_DOWN when the server is out of reach."""
        await self._server.ask("PING")

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _after(known: dict[str, CoolDown], changes: Changes) -> dict[str, CoolDown]:
    """Return the rests as they are after `changes`, without those that are over."""
    rests = {} if changes.is_whole else dict(known)
    for name, value in changes.values.items():
        with suppress(*_UNREADABLE):
            key = name.decode()
            rests.pop(key, None)  # also when the new value cannot be read
            if value:
                rest = _rests.decode(value)
                rests[key] = CoolDown(until=rest.until, reason=rest.reason)
    now = time.time_ns() / 1e9
    for key in [key for key, rest in rests.items() if not rest.until > now]:
        del rests[key]
    return rests
