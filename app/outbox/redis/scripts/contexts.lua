-- Reads contexts of orders: {field...}. Answers a body or nothing for each.
local answer = {}
for position, field in ipairs(input) do
  local raw = redis.call('GET', P .. ':c:' .. field)
  local kept = raw and cmsgpack.unpack(raw)
  answer[position] = kept and kept[1] > now and kept[2] or false
end
return answer
