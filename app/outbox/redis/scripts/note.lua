-- Notes whose a minted id is: {{field, until, name's mark, transaction's mark}...}; `until` in seconds. Answers 1 each.
local answer = {}
for position, item in ipairs(input) do
  local left = {}
  local is_known = false
  for _, entry in ipairs(index_get('i', item[1]) or {}) do
    local is_note = type(entry) == 'table' and not entry[4] and entry[2] == item[3]
    if not is_note or entry[1] * 1000000 > now then
      table.insert(left, entry)
      is_known = is_known or is_note
    end
  end
  if not is_known then
    table.insert(left, {item[2], item[3], item[4]})
    index_set('i', item[1], left)
  end
  answer[position] = 1
end
write_shapes()
return answer
