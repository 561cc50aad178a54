-- Deletes proofs from their lists: {{list, proof}...}. Answers how many went, of each in turn.
local answer = {}
allow_full()
for position, item in ipairs(input) do
  answer[position] = redis.call('LREM', P .. ':j:' .. item[1], 0, item[2])
end
return answer
