-- When what is ready for a destination became so: {dest, how many, is newest first, {paused name...}}. Answers group,
-- instants from the oldest on, instants from the newest on (none where those are not asked for) of each group in turn.
local dest, most, newest = input[1], input[2], input[3]
local answer = {}
for group, queues in pairs(groups_of(dest, input[4])) do
  local _, oldest = first_ready(dest, queues, most, false)
  if #oldest > 0 then
    local latest = {}
    if newest then
      _, latest = first_ready(dest, queues, most, true)
    end
    table.insert(answer, group)
    table.insert(answer, oldest)
    table.insert(answer, latest)
  end
end
return answer
