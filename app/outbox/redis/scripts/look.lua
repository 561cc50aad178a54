-- Reads the events kept under ids: {field...}. Answers for each the stories of what the index names, see `story`.
local answer = {}
for position, field in ipairs(input) do
  local found = {}
  for _, entry in ipairs(index_get('i', field) or {}) do
    if type(entry) == 'number' and event_of(text(entry)) then
      table.insert(found, story(text(entry)))
    end
  end
  answer[position] = found
end
return answer
