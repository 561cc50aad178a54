-- Deletes memos of a book that are due and whose time is over. KEYS[1]: when each is due, KEYS[2]: their values. ARGV: the
-- instant (empty: the server's own clock), how many to look at. Answers how many went.
local now
if ARGV[1] ~= '' then
  now = tonumber(ARGV[1])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local gone = 0
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, tonumber(ARGV[2]))
for _, name in ipairs(names) do
  local packed = redis.call('HGET', KEYS[2], name)
  local ends = packed and tonumber(string.match(packed, '^(%d+) '))
  if not ends or ends <= now then
    redis.call('ZREM', KEYS[1], name)
    redis.call('HDEL', KEYS[2], name)
    gone = gone + 1
  end
end
return gone
