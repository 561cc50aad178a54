-- Pairs that are due: {most}. Answers due instant, field, then the fields and values of each, the longest due first.
local due = P .. ':wd'
local found = redis.call('ZRANGEBYSCORE', due, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, input[1])
local answer = {}
for position = 1, #found, 2 do
  local kept = redis.call('HGETALL', P .. ':w:' .. found[position])
  if #kept > 0 then
    table.insert(answer, {found[position + 1], found[position], kept})
  else
    redis.call('ZREM', due, found[position])
  end
end
return answer
