-- When something is ready next: {{dest, {paused name...}}...}. Answers now, and for each an instant or empty.
local answer = {}
for position, asked in ipairs(input) do
  local soonest = ''
  for _, queues in pairs(groups_of(asked[1], asked[2])) do
    for _, queue in ipairs(queues) do
      local score = tonumber(redis.call('ZRANGE', READY .. asked[1] .. '\t' .. queue, 0, 0, 'WITHSCORES')[2])
      if score and (soonest == '' or score < soonest) then
        soonest = score
      end
    end
  end
  answer[position] = soonest == '' and '' or text(soonest)
end
return {text(now), answer}
