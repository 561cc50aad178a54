-- Adds to the tallies of one book and day. KEYS[1]: the store's own facts, KEYS[2]: the tallies. ARGV: the store's
-- identity, for how many seconds the day's tallies are kept, then key, number, first and last instant of each.
if redis.call('HGET', KEYS[1], 'store') ~= ARGV[1] then
  return redis.error_reply('GONE the data of the store has vanished')
end
for place = 3, #ARGV, 4 do
  local number, first, last = tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2]), tonumber(ARGV[place + 3])
  local kept = redis.call('HGET', KEYS[2], ARGV[place])
  if kept then
    local known, since, till = string.match(kept, '^(%d+) (%d+) (%d+)$')
    number = number + tonumber(known)
    first, last = math.min(first, tonumber(since)), math.max(last, tonumber(till))
  end
  redis.call('HSET', KEYS[2], ARGV[place], string.format('%.0f %.0f %.0f', number, first, last))
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
