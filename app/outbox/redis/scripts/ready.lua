-- What is ready for a destination: {dest, most}. Answers now, then seq and ready instant of each, oldest first.
local found = redis.call('ZRANGEBYSCORE', P .. ':r:' .. input[1], '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, input[2])
table.insert(found, 1, text(now))
return found
