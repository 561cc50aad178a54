-- When something is ready next: {dest, {paused name...}}. Answers now, and an instant or empty.
local soonest = ''
for _, queues in pairs(groups_of(input[1], input[2])) do
  for _, queue in ipairs(queues) do
    local score = tonumber(redis.call('ZRANGE', READY .. input[1] .. '\t' .. queue, 0, 0, 'WITHSCORES')[2])
    if score and (soonest == '' or score < soonest) then
      soonest = score
    end
  end
end
return {text(now), soonest == '' and '' or text(soonest)}
