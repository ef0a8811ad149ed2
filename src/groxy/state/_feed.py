"""A map in Redis whose changes can be read since a cursor, so that nobody reads all of it twice.

In: names and values. Out: what changed since a cursor, in pages, or everything when the cursor is
not of this map. Each change has the next number. A map that begins anew (the server lost its
memory) gets another epoch, by which cursors of the old one are told apart. Must not know what the
values mean.

Keys below the map's name: `values` (name -> value, "" for a name that was taken away), `order`
(name -> number of its newest change), `head` (epoch, and the newest number in `seq`), `ends` (name
-> unix milliseconds by the server's clock; only in maps whose entries end by themselves).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from groxy.state._redis_server import RedisServer, Script

GONE_KEPT_S: Final = 60.0
"""How long it is told that a name was taken away: who reads less often must read everything."""
_PAGE = 2000
"""How much one script reads or drops: some milliseconds of the server's only thread."""
_WRITTEN_AT_ONCE = 1000

_PRELUDE = """
local values, order, head, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function drop(names)
  if #names == 0 then return end
  redis.call('HDEL', values, unpack(names))
  redis.call('ZREM', order, unpack(names))
  if ends then redis.call('ZREM', ends, unpack(names)) end
end

local function prune()
  drop(redis.call('ZRANGEBYSCORE', ends, '-inf', now_ms(), 'LIMIT', 0, 2000))
end

local function begin(epoch)
  if redis.call('HSETNX', head, 'epoch', epoch) == 1 then
    redis.call('DEL', values, order)
    if ends then redis.call('DEL', ends) end
  end
end

local function note(name, value)
  redis.call('ZADD', order, redis.call('HINCRBY', head, 'seq', 1), name)
  redis.call('HSET', values, name, value)
end

-- The whole map leaves the server when its last entry is over, even if nobody comes to prune it.
local function end_with_the_last()
  local last = tonumber(redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2])
  for _, key in ipairs(KEYS) do
    if last > 1e14 then redis.call('PERSIST', key)
    else redis.call('PEXPIREAT', key, string.format('%.0f', last + 1000)) end
  end
end
"""

_PUT = Script(
    _PRELUDE
    + """
local epoch, limit, ttl_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
begin(epoch)
for index = 4, #ARGV, 2 do note(ARGV[index], ARGV[index + 1]) end
local excess = redis.call('ZCARD', order) - limit
if excess > 0 then drop(redis.call('ZRANGE', order, 0, math.min(excess, 2000) - 1)) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl_ms) end
"""
)

_PUT_FOR = Script(
    _PRELUDE
    + """
local epoch, name, value, left_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
prune()
begin(epoch)
note(name, value)
redis.call('ZADD', ends, now_ms() + left_ms, name)
end_with_the_last()
"""
)

_TAKE_AWAY = Script(
    _PRELUDE
    + """
local epoch, name, kept_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
prune()
local value = redis.call('HGET', values, name)
if not value or value == '' then return end
begin(epoch)
note(name, '')
redis.call('ZADD', ends, now_ms() + kept_ms, name)
end_with_the_last()
"""
)

_READ = Script(
    _PRELUDE
    + """
local epoch, since, page = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if ends then prune() end
local known = redis.call('HMGET', head, 'epoch', 'seq')
local newest, is_whole = tonumber(known[2] or '0'), 0
if since == 0 or (known[1] or '') ~= epoch or since > newest then since, is_whole = 0, 1 end
local reached, names, found = newest, {}, {}
if since < newest then
  local after = '(' .. string.format('%.0f', since)
  local pairs_ = redis.call(
    'ZRANGEBYSCORE', order, after, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
  for index = 1, #pairs_, 2 do names[#names + 1] = pairs_[index] end
  if #names == page then reached = tonumber(pairs_[#pairs_]) end
  if #names > 0 then found = redis.call('HMGET', values, unpack(names)) end
end
return {known[1] or '', reached, is_whole, newest, names, found}
"""
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader got; `NOWHERE` at first."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the cursor that `str` wrote; one that fits no map when it makes no sense."""
        epoch, _, seq = text.partition(":")
        is_sound = seq.isascii() and seq.isdigit() and len(seq) < 16  # exact as a float
        return cls(epoch, int(seq)) if is_sound else cls("", 0)


NOWHERE: Final = Cursor("", 0)


@dataclass(slots=True)
class Changes:
    """What is new, the oldest first."""

    cursor: Cursor
    is_whole: bool
    """True when `values` is all there is: what the reader knew before is void."""
    values: dict[bytes, bytes]
    """An empty value: the name was taken away."""


class Feed:
    """A map on a server."""

    def __init__(self, server: RedisServer, name: str, *, has_ends: bool) -> None:
        self._server = server
        parts = ("values", "order", "head", "ends") if has_ends else ("values", "order", "head")
        self._keys = tuple(f"{name}:{part}" for part in parts)

    async def put(self, entries: Mapping[str, str], *, limit: int, ttl_s: float) -> None:
        """Put values in place; only the `limit` newest stay, for `ttl_s` after the last change."""
        words = [word for entry in entries.items() for word in entry]
        for start in range(0, len(words), 2 * _WRITTEN_AT_ONCE):
            some = words[start : start + 2 * _WRITTEN_AT_ONCE]
            await self._server.run(_PUT, self._keys, _new_epoch(), limit, int(ttl_s * 1000), *some)

    async def put_for(self, name: str, value: bytes, *, left_s: float) -> None:
        """Put a value in place that ends by itself."""
        await self._server.run(_PUT_FOR, self._keys, _new_epoch(), name, value, left_s * 1000)

    async def take_away(self, name: str) -> None:
        """Take a name away, if it is there."""
        await self._server.run(_TAKE_AWAY, self._keys, _new_epoch(), name, GONE_KEPT_S * 1000)

    async def changes_since(self, cursor: Cursor) -> Changes:
        """Return what changed since `cursor`. Entries that ended by themselves are no change."""
        changes = Changes(cursor, is_whole=False, values={})
        goal: int | None = None
        while True:
            at = changes.cursor
            epoch, reached, is_whole, newest, names, found = await self._server.run(
                _READ, self._keys, at.epoch, at.seq, _PAGE
            )
            if is_whole:
                changes.is_whole, goal = True, None
                changes.values.clear()
            for name, value in zip(names, found, strict=True):
                changes.values.pop(name, None)  # so that it moves to the end
                changes.values[name] = value or b""
            changes.cursor = Cursor(epoch.decode(), reached)
            # What others write while we read can wait for the next time.
            goal = newest if goal is None else goal
            if reached >= goal:
                return changes


def _new_epoch() -> str:
    """Return the epoch of a map that may begin with this very call."""
    return secrets.token_hex(8)
