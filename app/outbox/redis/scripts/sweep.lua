-- Forgets settled events the journal need not tell of any more: {how many to look at, retention in microseconds}. An id
-- that is to be remembered longer keeps a few bytes. Answers how many went, and 1 where a call should follow.
--
-- Each number is passed once, in order, as soon as it is old enough. What has to stay then (it is pending, a dead
-- letter, or ended late) is put aside, to be looked at again from time to time: it never holds up what comes after it.
local most, before = input[1], now - input[2]
local AGAIN_AFTER = 3600 * 1000000
local SKEW = 60 * 1000000
local LEFT = P .. ':l'
local told = redis.call('HMGET', P, 'seq', 'floor')
local last, floor = tonumber(told[1] or 0), tonumber(told[2] or 0)
local gone, deleted, put_aside, done = 0, {}, {}, {}

local function is_due(event, accepted, head_size)
  if string.byte(event, 1) > 0 or string.byte(event, 2) > 0 or accepted > before then
    return false
  end
  for _, delivery in ipairs(ends_of(event, head_size)) do
    if accepted + delivery[3] * 1000 > before then
      return false
    end
  end
  return true
end

-- Whether it is gone, or old enough to go.
local function look_at(seq)
  local event = events[seq]
  if not event then
    return true
  end
  local _, _, accepted, _, till, head_size = struct.unpack(EVENT_HEADER, event)
  if not is_due(event, accepted, head_size) then
    return false
  end
  unlist(seq, event, till, head_size)
  deleted[#deleted + 1] = EVENT .. seq
  gone = gone + 1
  return true
end

allow_full()
local aside = redis.call('ZRANGEBYSCORE', LEFT, '-inf', text(now), 'LIMIT', 0, most)
read_events(aside)
for _, seq in ipairs(aside) do
  if look_at(seq) then
    done[#done + 1] = seq
  else
    put_aside[#put_aside + 1], put_aside[#put_aside + 2] = text(now + AGAIN_AFTER), seq
  end
end
local stop, is_young = math.min(last, floor + most), false
local seqs = {}
for number = floor + 1, stop do
  seqs[#seqs + 1] = text(number)
end
read_events(seqs)
for _, seq in ipairs(seqs) do
  local event = events[seq]
  if event then
    -- Numbers follow acceptance but for the skew of clocks: a minute more and all that come are too young.
    local _, _, accepted = struct.unpack(EVENT_HEADER, event)
    is_young = accepted > before + SKEW
    if is_young then
      break
    end
  end
  if not look_at(seq) then
    put_aside[#put_aside + 1], put_aside[#put_aside + 2] = text(now + AGAIN_AFTER), seq
  end
  floor = floor + 1
end
for first = 1, #deleted, CHUNK do
  redis.call('DEL', unpack(deleted, first, math.min(first + CHUNK - 1, #deleted)))
end
each('ZREM', LEFT, done)
each('ZADD', LEFT, put_aside)
redis.call('HSET', P, 'floor', text(floor))
write_shapes()
return {gone, (#aside == most or not (is_young or floor >= last)) and 1 or 0}
