-- Takes the memos of a book that are due. KEYS[1]: when each is due, KEYS[2]: their values. ARGV: how many at most, for
-- how many microseconds nobody else gets them, the instant (empty: the server's own clock).
-- Answers name, the instant it is due again, end and value, for each. One whose time is over goes.
local now
if ARGV[3] ~= '' then
  now = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local later = string.format('%.0f', now + tonumber(ARGV[2]))
local answer = {}
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, tonumber(ARGV[1]))
for _, name in ipairs(names) do
  local packed = redis.call('HGET', KEYS[2], name)
  local ends = packed and tonumber(string.match(packed, '^(%d+) '))
  if ends and ends > now then
    redis.call('ZADD', KEYS[1], later, name)
    answer[#answer + 1] = name
    answer[#answer + 1] = later
    answer[#answer + 1] = packed
  else
    redis.call('ZREM', KEYS[1], name)
    redis.call('HDEL', KEYS[2], name)
  end
end
return answer
