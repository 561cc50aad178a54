-- When something is ready next: {dest...}. Answers now, then an instant or empty for each.
local answer = {text(now)}
for _, dest in ipairs(input) do
  local soonest = ''
  for _, queue in ipairs(redis.call('SMEMBERS', QUEUES .. dest)) do
    local score = tonumber(redis.call('ZRANGE', READY .. dest .. '\t' .. queue, 0, 0, 'WITHSCORES')[2])
    if score and (soonest == '' or score < soonest) then
      soonest = score
    end
  end
  table.insert(answer, soonest == '' and '' or text(soonest))
end
return answer
