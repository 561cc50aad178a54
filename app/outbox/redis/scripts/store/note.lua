-- Writes a note of the lane book. KEYS[1]: the book. ARGV: name, the version it must have, its new one (0: delete it),
-- for how many microseconds it is kept (0: without an end), its value, the instant (empty: the server's own clock).
-- Answers 1, or 0 when the version is another: then nothing changed.
local now
if ARGV[6] ~= '' then
  now = tonumber(ARGV[6])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local version = 0
local packed = redis.call('HGET', KEYS[1], ARGV[1])
if packed then
  local known, ends = string.match(packed, '^(%d+) (%d+) ')
  if tonumber(ends) == 0 or tonumber(ends) > now then
    version = tonumber(known)
  end
end
if version ~= tonumber(ARGV[2]) then
  return 0
end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  local ends = ARGV[4] == '0' and 0 or now + tonumber(ARGV[4])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. string.format(' %.0f ', ends) .. ARGV[5])
end
return 1
