-- When something is ready next: {dest...}. Answers now, then an instant or empty for each.
local answer = {text(now)}
for _, dest in ipairs(input) do
  local first = redis.call('ZRANGE', P .. ':r:' .. dest, 0, 0, 'WITHSCORES')[2]
  table.insert(answer, first and text(tonumber(first)) or '')
end
return answer
