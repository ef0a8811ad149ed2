"""The gate's script: what Redis or Valkey does with the operations of one process.

In: one MessagePack list, see `ARGV` below. Out: the number 0 when the server does not know this
process as it calls itself, and nothing was done; else a MessagePack list with a reply for each
operation. Everything is read when it is first touched and written once, at the end, so that
operations which share a key or a user share that cost too. No cluster: it makes its keys' names.

- `groxy:gate:alive`: process -> when it counts as dead, its incarnation, its last call's number
- `groxy:gate:window:<scope>`: `r`, `t` what is counted of requests and tokens; `r<piece>`,
  `t<piece>` of it in a piece of time; `rn`, `tn` the newest of these; `f` the oldest
- `groxy:gate:places:<scope>`, `groxy:gate:held:<purse>`: process -> its incarnation, its share
- `groxy:gate:purse:<purse>`: `t` ticks (none: unknown), `q` the highest seq that anyone told

A share counts while its process lives in that same incarnation. A process that starts a new one
says anew what it holds, so an old share of it is dropped and nothing is lost. A share of a dead
process is dropped too, but what it did last is known to nobody: the purse becomes unknown.
"""

from groxy.state._redis_server import Script

GATE = Script("""
local asked = cmsgpack.unpack(ARGV[1])
local me, incarnation, number, reset = asked[1], asked[2], asked[3], asked[4]
local pieces, piece_ms, alive_ms, now_ms, ops = asked[5], asked[6], asked[7], asked[8], asked[9]
if now_ms == 0 then
  local time = redis.call('TIME')
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = math.floor(now_ms / piece_ms)
local gone = now - pieces - 1
local MAX_TICKS = 9007199254740991
local SHARE_MS, PURSE_MS, UNKNOWN_MS = 604800000, 3600000, 60000
local ALIVE = 'groxy:gate:alive'

local function int(value) return string.format('%.0f', value) end
local function expire(key, ms) redis.call('PEXPIRE', key, int(ms)) end

-- Who lives, and whether the server knows the process that asks.
local living, calls = {}, 0
local told = redis.call('HGETALL', ALIVE)
for index = 1, #told, 2 do
  local ends, as, last = string.match(told[index + 1], '^(%d+) (%d+) (%d+)$')
  if ends and tonumber(ends) > now_ms then
    living[told[index]] = tonumber(as)
    if told[index] == me then calls = tonumber(last) end
  else
    redis.call('HDEL', ALIVE, told[index])
  end
end
if reset then
  if living[me] and living[me] >= incarnation then return 0 end
elseif living[me] ~= incarnation or calls >= number then
  return 0
end
living[me] = incarnation
redis.call('HSET', ALIVE, me,
  int(now_ms + alive_ms) .. ' ' .. int(incarnation) .. ' ' .. int(number))
expire(ALIVE, alive_ms)

-- Shares: what each process has of something.
local function read_shares(key)
  local shares = {key = key, others = 0, mine = 0, gone = {}, is_lost = false}
  local raw = redis.call('HGETALL', key)
  for index = 1, #raw, 2 do
    local who = raw[index]
    local as, amount = string.match(raw[index + 1], '^(%d+) (%d+)$')
    if not living[who] or living[who] ~= tonumber(as) then
      shares.gone[#shares.gone + 1] = who
      shares.is_lost = shares.is_lost or not living[who]
    elseif who == me then
      shares.mine = tonumber(amount)
    else
      shares.others = shares.others + tonumber(amount)
    end
  end
  shares.before = shares.mine
  return shares
end

local function write_shares(shares)
  if #shares.gone > 0 then redis.call('HDEL', shares.key, unpack(shares.gone)) end
  if shares.mine == shares.before then return end
  if shares.mine > 0 then
    redis.call('HSET', shares.key, me, int(incarnation) .. ' ' .. int(shares.mine))
    expire(shares.key, SHARE_MS)
  else
    redis.call('HDEL', shares.key, me)
  end
end

local all_places = {}
local function places_of(scope)
  local places = all_places[scope]
  if not places then
    places = read_shares('groxy:gate:places:' .. scope)
    all_places[scope] = places
  end
  return places
end

-- Windows.
local windows = {}

local function new_window(key)
  return {key = key, r = 0, t = 0, f = now, rn = 0, tn = 0, at = now,
    counts = {}, changed = {}, forgotten = {}}
end

local function forget(window)
  local names = window.forgotten
  for piece = window.f, gone do
    names[#names + 1] = 'r' .. int(piece)
    names[#names + 1] = 't' .. int(piece)
  end
  if #names == 0 then return end
  for index, counted in ipairs(redis.call('HMGET', window.key, unpack(names))) do
    local kind = string.sub(names[index], 1, 1)
    window[kind] = window[kind] - (tonumber(counted) or 0)
  end
  window.f = gone + 1
  window.is_changed = true
end

local function window_of(scope)
  local window = windows[scope]
  if window then return window end
  window = new_window('groxy:gate:window:' .. scope)
  windows[scope] = window
  local r, t = 'r' .. int(now), 't' .. int(now)
  local got = redis.call('HMGET', window.key, 'r', 't', 'f', 'rn', 'tn', r, t)
  if not got[3] then
    window.counts[r], window.counts[t] = 0, 0
    return window
  end
  local newest = math.max(tonumber(got[4]), tonumber(got[5]))
  if newest <= gone or newest - now > pieces + 1 then  -- all is over, or the clock was set
    window.counts[r], window.counts[t] = 0, 0
    window.is_stale = true
    return window
  end
  window.r, window.t, window.f = tonumber(got[1]), tonumber(got[2]), tonumber(got[3])
  window.rn, window.tn = tonumber(got[4]), tonumber(got[5])
  window.at = math.max(now, newest)  -- the clock may have been set back a little
  window.counts[r], window.counts[t] = tonumber(got[6]) or 0, tonumber(got[7]) or 0
  forget(window)
  return window
end

local function load(window, kind, from, to)
  local names = {}
  for piece = from, to do
    local name = kind .. int(piece)
    if not window.counts[name] then names[#names + 1] = name end
  end
  if #names == 0 then return end
  if window.is_stale then
    for _, name in ipairs(names) do window.counts[name] = 0 end
    return
  end
  for index, counted in ipairs(redis.call('HMGET', window.key, unpack(names))) do
    window.counts[names[index]] = tonumber(counted) or 0
  end
end

local function set_count(window, kind, piece, by)
  local name = kind .. int(piece)
  load(window, kind, piece, piece)
  window.counts[name] = window.counts[name] + by
  window.changed[name] = true
  window[kind] = window[kind] + by
  window.is_changed = true
end

local function add(window, kind, amount)
  set_count(window, kind, window.at, amount)
  window[kind .. 'n'] = window.at
end

local function take(window, kind, piece, amount)
  local from, to = piece, piece
  if piece < 0 then from, to = window.f, window.at end
  from = math.max(from, window.f)
  for at = from, math.min(to, window.at) do
    load(window, kind, at, at)
    local taken = math.min(amount, window.counts[kind .. int(at)])
    if taken > 0 then set_count(window, kind, at, -taken) end
    amount = amount - taken
    if amount <= 0 then return end
  end
end

local function ends_in_ms(piece) return (piece + pieces + 1) * piece_ms - now_ms end

-- When so much will be over.
local function frees_in_ms(window, kind, amount)
  for from = window.f, window.at, 32 do
    local to = math.min(from + 31, window.at)
    load(window, kind, from, to)
    for piece = from, to do
      amount = amount - window.counts[kind .. int(piece)]
      if amount <= 0 then return ends_in_ms(piece) end
    end
  end
  return ends_in_ms(window.at)
end

local function write_window(window)
  if window.is_stale then redis.call('DEL', window.key)
  elseif #window.forgotten > 0 then redis.call('HDEL', window.key, unpack(window.forgotten)) end
  if not window.is_changed then return end
  local words = {'r', int(window.r), 't', int(window.t), 'f', int(window.f),
    'rn', int(window.rn), 'tn', int(window.tn)}
  for name in pairs(window.changed) do
    words[#words + 1] = name
    words[#words + 1] = int(window.counts[name])
  end
  redis.call('HSET', window.key, unpack(words))
  expire(window.key, 2 * pieces * piece_ms + 1000)
end

-- Purses.
local purses = {}

local function purse_of(name)
  local purse = purses[name]
  if purse then return purse end
  local key = 'groxy:gate:purse:' .. name
  local got = redis.call('HMGET', key, 't', 'q')
  purse = {key = key, ticks = tonumber(got[1]), seq = tonumber(got[2]) or -1,
    shares = read_shares('groxy:gate:held:' .. name)}
  if purse.shares.is_lost and purse.ticks then
    purse.ticks, purse.is_changed = nil, true
  end
  purses[name] = purse
  return purse
end

local function held_of(purse) return purse.shares.others + purse.shares.mine end

local function room_above(purse, floor)
  return math.min(purse.ticks - floor, MAX_TICKS) - held_of(purse)
end

local function fill(name, ticks, seq, only_known)
  local purse = purse_of(name)
  if purse.ticks and seq > purse.seq or not purse.ticks and seq >= purse.seq then
    if purse.ticks or not only_known then purse.ticks = ticks end
    purse.seq, purse.is_changed = seq, true
  end
end

local function fill_all(fills, only_known)
  for _, told_of in ipairs(fills) do fill(told_of[1], told_of[2], told_of[3], only_known) end
end

local function write_purse(purse)
  write_shares(purse.shares)
  if purse.is_changed then
    redis.call('HSET', purse.key, 'q', int(purse.seq))
    if purse.ticks then redis.call('HSET', purse.key, 't', int(purse.ticks))
    else redis.call('HDEL', purse.key, 't') end
  elseif not purse.ticks then
    return
  end
  expire(purse.key, purse.ticks and PURSE_MS or UNKNOWN_MS)
end

-- Claims.
local function try_scopes(scopes, tokens)
  local answer, by, wait = 'granted', '', 0
  local function refuse(kind, scope, wait_ms)
    if answer == 'granted' or wait_ms > wait then answer, by, wait = kind, scope, wait_ms end
  end
  for _, scope in ipairs(scopes) do
    if scope[3] > 0 and tokens > scope[3] then return 'tokens', scope[1], 0 end
  end
  for _, scope in ipairs(scopes) do
    local name = scope[1]
    if scope[2] > 0 then
      local over = window_of(name).r + 1 - scope[2]
      if over > 0 then refuse('requests', name, frees_in_ms(window_of(name), 'r', over)) end
    end
    if scope[3] > 0 and tokens > 0 then
      local over = window_of(name).t + tokens - scope[3]
      if over > 0 then refuse('tokens', name, frees_in_ms(window_of(name), 't', over)) end
    end
    if scope[4] > 0 then
      local places = places_of(name)
      if places.others + places.mine >= scope[4] then refuse('concurrency', name, 1000) end
    end
  end
  return answer, by, wait
end

local function try_purses(draws, ticks, least)
  local unknown, available, by = {}, 0, ''
  for index, draw in ipairs(draws) do
    local purse = purse_of(draw[1])
    if not purse.ticks then
      unknown[#unknown + 1] = draw[1]
    else
      local room = room_above(purse, draw[2])
      if by == '' or room < available then available, by = room, draw[1] end
    end
  end
  if #unknown > 0 then return 'unknown', unknown[1], 0, 0, unknown end
  if #draws == 0 then return 'granted', '', ticks, 0, unknown end
  local enough = ticks
  if least >= 0 then enough = math.min(least, ticks) end
  if available < enough then return 'purse', by, 0, available, unknown end
  local held = math.min(ticks, available)
  return 'granted', '', held, available - held, unknown
end

local function hold(draws, ticks)
  for _, draw in ipairs(draws) do
    local shares = purse_of(draw[1]).shares
    shares.mine = shares.mine + ticks
  end
end

local function count(scopes, tokens)
  for _, scope in ipairs(scopes) do
    if scope[2] > 0 then add(window_of(scope[1]), 'r', 1) end
    if scope[3] > 0 and tokens > 0 then add(window_of(scope[1]), 't', tokens) end
    if scope[4] > 0 then
      local places = places_of(scope[1])
      places.mine = places.mine + 1
    end
  end
end

-- What is left of the tightest window; `column` is where a scope has its limit.
local function tightest(scopes, kind, column)
  local room = false
  for _, scope in ipairs(scopes) do
    local limit = scope[column]
    if limit > 0 then
      local window = window_of(scope[1])
      local left = math.max(0, limit - window[kind])
      if not room or left / limit < room[2] / room[1] then
        local reset_ms = 0
        if window[kind] > 0 then reset_ms = ends_in_ms(window[kind .. 'n']) end
        room = {limit, left, reset_ms}
      end
    end
  end
  return room
end

local function claim(scopes, tokens, draws, ticks, least)
  local answer, by, wait = try_scopes(scopes, tokens)
  local held, available, unknown = 0, 0, {}
  if answer == 'granted' then
    answer, by, held, available, unknown = try_purses(draws, ticks, least)
  end
  if answer == 'granted' then
    count(scopes, tokens)
    hold(draws, held)
  end
  local piece, first = now, scopes[1]
  if first and first[2] + first[3] > 0 then piece = window_of(first[1]).at end
  return {answer, held, by, unknown, wait, available,
    tightest(scopes, 'r', 2), tightest(scopes, 't', 3), piece}
end

local function extend(draws, ticks)
  local answer, _, held = try_purses(draws, ticks, -1)
  if answer == 'granted' then hold(draws, ticks) end
  return answer == 'granted'
end

local function give_back(scopes, tokens, draws, ticks, fills, piece)
  for _, scope in ipairs(scopes) do
    if scope[3] > 0 and tokens > 0 then add(window_of(scope[1]), 't', tokens) end
    if scope[3] > 0 and tokens < 0 then take(window_of(scope[1]), 't', piece, -tokens) end
    if scope[4] > 0 then
      local places = places_of(scope[1])
      places.mine = math.max(0, places.mine - 1)
    end
  end
  for _, draw in ipairs(draws) do
    local shares = purse_of(draw[1]).shares
    shares.mine = math.max(0, shares.mine - ticks)
  end
  fill_all(fills, true)
  return true
end

local function available(name)
  local purse = purse_of(name)
  if not purse.ticks then return false end
  return {purse.ticks, held_of(purse)}
end

if reset then
  for _, share in ipairs(reset[1]) do places_of(share[1]).mine = share[2] end
  for _, share in ipairs(reset[2]) do purse_of(share[1]).shares.mine = share[2] end
  fill_all(reset[3], true)
end
local replies, is_leaving = {}, false
for index, op in ipairs(ops) do
  local reply = true
  if op[1] == 'claim' then reply = claim(op[2], op[3], op[4], op[5], op[6])
  elseif op[1] == 'extend' then reply = extend(op[2], op[3])
  elseif op[1] == 'give back' then reply = give_back(op[2], op[3], op[4], op[5], op[6], op[7])
  elseif op[1] == 'fill' then fill_all(op[2], op[3])
  elseif op[1] == 'available' then reply = available(op[2])
  elseif op[1] == 'leave' then is_leaving = true end
  replies[index] = reply
end
for _, window in pairs(windows) do write_window(window) end
for _, places in pairs(all_places) do write_shares(places) end
for _, purse in pairs(purses) do write_purse(purse) end
if is_leaving then redis.call('HDEL', ALIVE, me) end
return cmsgpack.pack(replies)
""")
"""ARGV: one list of who asks, its incarnation, the call's number in it, what it holds (false, or
places by scope, ticks by purse, and fills that nobody heard), how many pieces a window has, how
long one is, how long a process lives without a call, the time (0: the server's own; tests turn
it), and the operations."""
