-- Looks through the registry for what is past its time: {first bucket, how many buckets, retention in seconds}. Deletes
-- notes; answers how many of those, then bucket, field and packed entries where an event must be looked up first.
local first, most, retention = input[1], input[2], input[3]
local TENTATIVE = 0
local seconds = math.floor(now / 1000000)
local answer = {0}
allow_full()
for bucket = first, first + most - 1 do
  local notes = P .. ':m:' .. bucket
  local found = redis.call('HGETALL', notes)
  for position = 1, #found, 2 do
    if cmsgpack.unpack(found[position + 1])[1] <= now then
      redis.call('HDEL', notes, found[position])
      answer[1] = answer[1] + 1
    end
  end
  local kept = redis.call('HGETALL', P .. ':t:' .. bucket)
  for position = 1, #kept, 2 do
    local entries = cmsgpack.unpack(kept[position + 1])
    for number = 2, #entries do
      local entry = entries[number]
      local due = entry[4]
      if entry[6] == TENTATIVE then
        due = math.max(due, entry[5] + retention)
      end
      if due <= seconds then
        table.insert(answer, text(bucket))
        table.insert(answer, kept[position])
        table.insert(answer, kept[position + 1])
        break
      end
    end
  end
end
return answer
