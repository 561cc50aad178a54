-- Deletes registry entries past their time, or marks them as still told by the journal: {{field, name, occurrence, id,
-- is kept}...}. Answers how many went.
local TENTATIVE, FIRM = 0, 1
local seconds = math.floor(now / 1000000)
local gone = 0
allow_full()
for _, item in ipairs(input) do
  local entries = index_get('t', item[1]) or {}
  for position = #entries, 2, -1 do
    local entry = entries[position]
    if entry[1] == item[2] and entry[2] == item[3] and entry[3] == item[4] and entry[4] <= seconds then
      if not item[5] then
        table.remove(entries, position)
        gone = gone + 1
      elseif entry[6] == FIRM then
        entry[6] = TENTATIVE
      end
    end
  end
  if #entries > 0 then
    index_set('t', item[1], #entries > 1 and entries or {})
  end
end
write_shapes()
return gone
