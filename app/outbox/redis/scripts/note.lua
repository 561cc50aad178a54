-- Notes whose a minted id is: {{bucket, field, until, transaction}...}. Answers 1 for each.
local answer = {}
for position, item in ipairs(input) do
  local key = P .. ':m:' .. item[1]
  local raw = redis.call('HGET', key, item[2])
  local note = raw and cmsgpack.unpack(raw)
  if not note or note[1] <= now then
    redis.call('HSET', key, item[2], cmsgpack.pack({item[3], item[4]}))
  end
  answer[position] = 1
end
return answer
