-- Makes deliveries of a destination ready that are leased or wait: {dest, how many}. Answers how many.
local dest, left = input[1], input[2]
local before = left
allow_full()
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES .. dest)) do
  local ready = READY .. dest .. '\t' .. queue
  local found = left > 0 and redis.call('ZRANGEBYSCORE', ready, '(' .. text(now), '+inf', 'LIMIT', 0, left) or {}
  local words = {}
  for position, seq in ipairs(found) do
    words[2 * position - 1], words[2 * position] = text(now), seq
  end
  each('ZADD', ready, words)
  left = left - #found
end
return before - left
