-- Lists the registry entries of transactions: {field...}. Answers a packed list or nothing for each.
local answer = {}
for position, field in ipairs(input) do
  answer[position] = redis.call('HGET', bucket_of('t', field), field)
end
return answer
