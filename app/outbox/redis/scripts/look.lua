-- Reads the events kept under ids: {{bucket, field}...}. Answers now, then for each a list of seq, record, seq, ...
local answer = {text(now)}
for _, item in ipairs(input) do
  local found = {}
  local packed = redis.call('HGET', P .. ':i:' .. item[1], item[2])
  for _, number in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    local seq = text(number)
    local raw = redis.call('GET', P .. ':e:' .. seq)
    if raw then
      table.insert(found, seq)
      table.insert(found, raw)
    end
  end
  table.insert(answer, found)
end
return answer
