-- Reads lists of proofs: {list...}. Answers all of each.
local answer = {}
for position, name in ipairs(input) do
  answer[position] = redis.call('LRANGE', P .. ':j:' .. name, 0, -1)
end
return answer
