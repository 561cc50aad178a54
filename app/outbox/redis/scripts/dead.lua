-- Looks through dead letters, oldest first: {dest, offset, how many to look at, most, reason, event_id, source, died
-- before}. Answers how many it looked at, then number, instant, event, body of those that fit.
local dest, offset, most = input[1], input[2], input[4]
local found = redis.call('ZRANGE', DEADS .. dest, offset, offset + input[3] - 1, 'WITHSCORES')
local answer = {0}

local function fits(event)
  local _, _, _, _, _, size = struct.unpack(EVENT_HEADER, event)
  local head = cmsgpack.unpack(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + size))
  if (input[6] and head[3] ~= input[6]) or (input[7] and head[1] ~= input[7]) then
    return false
  end
  for _, delivery in ipairs(ends_of(event, size)) do
    if delivery[4] == dest then
      return delivery[1] == DEAD and (not input[5] or (delivery[5] ~= '' and cmsgpack.unpack(delivery[5])[1] == input[5]))
    end
  end
  return false
end

for position = 1, #found, 2 do
  local seq, died = found[position], tonumber(found[position + 1])
  if (#answer - 1) / 4 >= most or (input[8] and died >= input[8]) then
    return answer
  end
  answer[1] = answer[1] + 1
  local event, body = redis.call('GET', EVENT .. seq), redis.call('GET', BODY .. seq)
  if event and body and fits(event) then
    table.insert(answer, seq)
    table.insert(answer, text(died))
    table.insert(answer, event)
    table.insert(answer, body)
  end
end
return answer
