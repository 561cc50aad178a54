-- Replays or purges dead letters: {is replay, {{seq, dest, queue, nonce, currency, units, millionths, bytes}...}}.
-- Answers how many.
local is_replay = input[1]
local done = 0
allow_full()

local function dead_end(event, size, dest)
  for _, delivery in ipairs(ends_of(event, size)) do
    if delivery[4] == dest and delivery[1] == DEAD then
      return delivery[6], delivery[7], delivery[5]
    end
  end
  return nil
end

for _, item in ipairs(input[2]) do
  local seq, dest, queue = item[1], item[2], item[3]
  local event = event_of(seq)
  local pending, dead, accepted, nonce, till, size, from, to, why
  if event then
    pending, dead, accepted, nonce, till, size = struct.unpack(EVENT_HEADER, event)
    from, to, why = dead_end(event, size, dest)
  end
  if from and nonce == item[4] then
    local before, last, after = string.sub(event, EVENT_SIZE + 1, from - 1), '', string.sub(event, to + 1)
    done = done + 1
    redis.call('ZREM', DEADS .. dest, seq)
    if is_replay then
      pending = pending + 1
      redis.call('ZADD', READY .. dest .. '\t' .. queue, text(now), seq)
      redis.call('SADD', QUEUES .. dest, queue)
      local unsure = why ~= '' and cmsgpack.unpack(why)[4] or 0
      redis.call('HSET', CLAIMS .. dest, seq, struct.pack(CLAIM, 0, 0, unsure, 0, 0))
      lower_oldest(dest, tonumber(seq))
      count(dest, DEAD, -1, item[5], item[6], item[7], 0)
      count(dest, PENDING, 1, item[5], item[6], item[7], item[8])
    else
      count(dest, PURGED, 1, item[5], item[6], item[7], 0)
      local state = string.byte(event, from)
      last = string.char(state - DEAD + PURGED) .. string.sub(event, from + 1, to)
    end
    change_event(seq, struct.pack(EVENT_HEADER, pending, dead - 1, accepted, nonce, till, size) .. before .. last .. after)
  end
end
write()
return done
