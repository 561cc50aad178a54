-- Looks through the indexes for what is past its time: {first bucket of ids, of transactions, how many buckets,
-- retention in seconds}. Deletes what nothing else tells of; answers how many went, where the next call goes on in each
-- (0: from the start), how many buckets each has, then the field and the packed entries of a transaction where an
-- event must be looked up first.
local most, retention = input[3], input[4]
local TENTATIVE = 0
local seconds = math.floor(now / 1000000)
allow_full()
local ids, transactions = shape_of('i')[1], shape_of('t')[1]
local answer = {0, 0, 0, ids, transactions}

for bucket = input[1], math.min(input[1] + most, ids) - 1 do
  local found = redis.call('HGETALL', P .. ':i:' .. bucket)
  for position = 1, #found, 2 do
    local entries, left = cmsgpack.unpack(found[position + 1]), {}
    for _, entry in ipairs(entries) do
      if type(entry) == 'number' or entry[1] > seconds then
        table.insert(left, entry)
      end
    end
    if #left < #entries then
      answer[1] = answer[1] + #entries - #left
      index_set('i', found[position], left)
    end
  end
end
for bucket = input[2], math.min(input[2] + most, transactions) - 1 do
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
        table.insert(answer, kept[position])
        table.insert(answer, kept[position + 1])
        break
      end
    end
  end
end
answer[2] = input[1] + most < ids and input[1] + most or 0
answer[3] = input[2] + most < transactions and input[2] + most or 0
write_shapes()
return answer
