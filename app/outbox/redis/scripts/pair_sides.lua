-- Reads pairs: {field...}. Answers the fields and values of each.
local answer = {}
for position, field in ipairs(input) do
  answer[position] = redis.call('HGETALL', P .. ':w:' .. field)
end
return answer
