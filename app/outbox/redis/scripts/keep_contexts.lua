-- Keeps contexts of orders: {{field, body, until}...}. The server deletes each when its time is over: nothing else
-- hangs on it. Answers 1 for each.
local answer = {}
for position, item in ipairs(input) do
  local key, left = P .. ':c:' .. item[1], math.ceil((item[3] - now) / 1000)
  if left > 0 then
    redis.call('SET', key, cmsgpack.pack({item[3], item[2]}), 'PX', text(left))
  else
    redis.call('DEL', key)
  end
  answer[position] = 1
end
return answer
