-- Ends as erased what is pending or dead of events, but what is being sent: {why, marks for a head that has
-- none, {seq, nonce}...}. Answers the destination and the former state of each delivery in turn.
local ERASED = 5
local UNMARKED, MARKED = 0x96, 0x97 -- how a head of six fields begins, and one of seven
local why, marks = input[1], input[2]
local answer = {}
allow_full()

-- By destination: {currency, units, millionths, limited}, of every delivery a body has a lead for.
local function planned_in(body)
  local planned = {}
  for _, lead in ipairs(leads_of(body)) do
    for _, each_planned in ipairs(lead[5]) do
      planned[each_planned[1]] = planned[each_planned[1]] or {lead[2], lead[3], lead[4], each_planned[2]}
    end
  end
  return planned
end

local function erase(seq, event, body)
  local pending, dead, accepted, nonce, till, head_size = struct.unpack(EVENT_HEADER, event)
  local _, _, _, size = struct.unpack(BODY_HEADER, body)
  local ms = math.max(0, math.floor((now - accepted) / 1000))
  local planned, parts = planned_in(body), {}

  local function ended(dest, was, limited, attempts)
    local money = planned[dest]
    count(dest, was, -1, money[1], money[2], money[3], was == PENDING and size or 0)
    count(dest, ERASED, 1, money[1], money[2], money[3], 0)
    table.insert(answer, dest)
    table.insert(answer, was)
    table.insert(parts, struct.pack(END, ERASED + limited * LIMITED, attempts, ms, #dest, #why) .. dest .. why)
  end

  for _, delivery in ipairs(ends_of(event, head_size)) do
    local dest, first, last = delivery[4], delivery[6], delivery[7]
    if delivery[1] == DEAD then
      dead = dead - 1
      redis.call('ZREM', DEADS .. dest, seq)
      ended(dest, DEAD, planned[dest][4], delivery[2])
    else
      table.insert(parts, string.sub(event, first, last))
    end
    planned[dest] = nil
  end
  for dest, money in pairs(planned) do
    local claim = redis.call('HGET', CLAIMS .. dest, seq)
    local queue = place_in(dest, seq)
    if queue and not (claim and is_claimed(dest, seq, claim)) then
      local attempts = 0
      if claim then
        local _
        _, _, _, attempts = struct.unpack(CLAIM, claim)
      end
      pending = pending - 1
      redis.call('ZREM', READY .. dest .. '\t' .. queue, seq)
      redis.call('HDEL', CLAIMS .. dest, seq)
      ended(dest, PENDING, money[4], attempts)
    end
  end
  local head = string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + head_size)
  if string.byte(head) == UNMARKED then
    head = string.char(MARKED) .. string.sub(head, 2) .. cmsgpack.pack(marks)
  end
  change_event(seq, struct.pack(EVENT_HEADER, pending, dead, accepted, nonce, till, #head) .. head .. table.concat(parts))
end

for position = 3, #input do
  local seq = input[position][1]
  local event = event_of(seq)
  local body = event and body_of(seq)
  if body then
    local _, _, _, nonce = struct.unpack(EVENT_HEADER, event)
    if nonce == input[position][2] then
      erase(seq, event, body)
    end
  end
end
write()
return answer
