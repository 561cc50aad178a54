-- Counts what waits: {dest...}. Answers ready, all, oldest accepted or empty, 1 where that is not found yet, and how many
-- more are held, of each. What is held is none of the others: it has no claim before its time is over or it is released.
--
-- Numbers follow acceptance. So the oldest is the first number of the one that is ready first in any queue, or one
-- below it that was tried and waits longer: the first that has a claim. How far none has is kept, so that whoever asks
-- next goes on from there; a claim of a lower number takes it back.
local STEPS, AT_ONCE = 4000, 500
allow_full()

-- The first number below `stop` that has a claim, and whether there may be one further on.
local function first_claimed(dest, stop)
  local from = tonumber(redis.call('HGET', OLDEST, dest) or 0)
  local position, last = from, math.min(stop - 1, from + STEPS)
  local found
  while position < last and not found do
    local seqs = {}
    for number = position + 1, math.min(last, position + AT_ONCE) do
      seqs[#seqs + 1] = text(number)
    end
    local claims = redis.call('HMGET', CLAIMS .. dest, unpack(seqs))
    for number, seq in ipairs(seqs) do
      if claims[number] then
        found = seq
        break
      end
      position = position + 1
    end
  end
  if position ~= from then
    redis.call('HSET', OLDEST, dest, text(position))
  end
  return found, not found and position < stop - 1
end

local answer = {}
for _, dest in ipairs(input) do
  local ready_now, all, oldest, is_open, held = 0, 0, '', 0, 0
  local first = math.huge
  for _, queue in ipairs(redis.call('SMEMBERS', QUEUES .. dest)) do
    local ready = READY .. dest .. '\t' .. queue
    local is_held = string.sub(queue, 1, 5) == 'held\t'
    local head = not is_held and redis.call('ZRANGE', ready, 0, 0)[1]
    if is_held then
      held = held + redis.call('ZCARD', ready)
    elseif head then
      first = math.min(first, tonumber(head))
      all = all + redis.call('ZCARD', ready)
      ready_now = ready_now + redis.call('ZCOUNT', ready, '-inf', text(now))
    end
  end
  if all > 0 then
    local seq, has_more = first_claimed(dest, first)
    local event = redis.call('GET', EVENT .. (seq or text(first)))
    if event then
      local _, _, accepted = struct.unpack(EVENT_HEADER, event)
      oldest = text(accepted)
    end
    is_open = has_more and 1 or 0
  end
  table.insert(answer, ready_now)
  table.insert(answer, all)
  table.insert(answer, oldest)
  table.insert(answer, is_open)
  table.insert(answer, held)
end
return answer
