-- Counts pairs as judged: {{field, sides, counted, {key, by, ...}}...}. Answers of each in turn 1 where nothing had
-- happened to it since it was read, or 0.
local due, answer = P .. ':wd', {}
for position, item in ipairs(input) do
  local key, done = P .. ':w:' .. item[1], 0
  local sides = 0
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.sub(name, 1, 2) == 's:' then
      sides = sides + 1
    end
  end
  if sides == item[2] and redis.call('ZREM', due, item[1]) == 1 then
    done = 1
    redis.call('HSET', key, 'counted', item[3])
    for place = 1, #item[4], 2 do
      redis.call('HINCRBY', P .. ':wt', item[4][place], item[4][place + 1])
    end
  end
  answer[position] = done
end
return answer
