-- Deletes events that have nothing pending or dead left and arrived nowhere after an instant, and the reports of both
-- sides under their ids: {instant in microseconds, {seq, nonce, field of its id}...}. Answers {events, pairs} that went.
local settled_by = input[1]
local gone, pairs_gone = 0, 0
allow_full()

local function has_come_to_rest(event, accepted, head_size)
  if string.byte(event, 1) > 0 or string.byte(event, 2) > 0 then
    return false
  end
  for _, delivery in ipairs(ends_of(event, head_size)) do
    if delivery[1] == DELIVERED and accepted + delivery[3] * 1000 > settled_by then
      return false
    end
  end
  return true
end

for position = 2, #input do
  local seq, field = input[position][1], input[position][3]
  local event = event_of(seq)
  if event then
    local _, _, accepted, nonce, till, head_size = struct.unpack(EVENT_HEADER, event)
    if nonce == input[position][2] and has_come_to_rest(event, accepted, head_size) then
      unlist(seq, event, till, head_size)
      redis.call('DEL', EVENT .. seq, BODY .. seq)
      redis.call('ZREM', P .. ':l', seq)
      redis.call('ZREM', P .. ':wd', field)
      pairs_gone = pairs_gone + redis.call('DEL', P .. ':w:' .. field)
      gone = gone + 1
      events[seq] = false
    end
  end
end
write_shapes()
return {gone, pairs_gone}
