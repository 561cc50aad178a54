-- Lists the registry entries of transactions: {{bucket, field}...}. Answers a packed list or nothing for each.
local answer = {}
for position, item in ipairs(input) do
  answer[position] = redis.call('HGET', P .. ':t:' .. item[1], item[2])
end
return answer
