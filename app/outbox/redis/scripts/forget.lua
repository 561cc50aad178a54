-- Deletes registry entries past their time, or marks them as still told by the journal: {{bucket, field, name,
-- occurrence, id, is kept}...}. Answers how many went.
local TENTATIVE, FIRM = 0, 1
local seconds = math.floor(now / 1000000)
local gone = 0
allow_full()
for _, item in ipairs(input) do
  local key, field = P .. ':t:' .. item[1], item[2]
  local raw = redis.call('HGET', key, field)
  local entries = raw and cmsgpack.unpack(raw) or {}
  for position = #entries, 2, -1 do
    local entry = entries[position]
    if entry[1] == item[3] and entry[2] == item[4] and entry[3] == item[5] and entry[4] <= seconds then
      if not item[6] then
        table.remove(entries, position)
        gone = gone + 1
      elseif entry[6] == FIRM then
        entry[6] = TENTATIVE
      end
    end
  end
  if #entries > 1 then
    redis.call('HSET', key, field, cmsgpack.pack(entries))
  elseif raw then
    redis.call('HDEL', key, field)
  end
end
return gone
