-- The counts of pairs of the partition, those of days before {day} deleted. Answers key, number, key, ...
local kept, answer = redis.call('HGETALL', P .. ':wt'), {}
for position = 1, #kept, 2 do
  if string.sub(kept[position], 1, 10) < input[1] then
    redis.call('HDEL', P .. ':wt', kept[position])
  else
    table.insert(answer, kept[position])
    table.insert(answer, kept[position + 1])
  end
end
return answer
