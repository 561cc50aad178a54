-- Deletes what is kept of transactions, their ids and their contexts: {field...}. Answers {ids minted, contexts}.
local FIRM = 1
local ids, contexts = 0, 0
allow_full()
for _, field in ipairs(input) do
  for position, entry in ipairs(index_get('t', field) or {}) do
    if position > 1 and entry[6] == FIRM then
      ids = ids + 1
    end
  end
  index_set('t', field, {})
  contexts = contexts + redis.call('DEL', P .. ':c:' .. field)
end
write_shapes()
return {ids, contexts}
