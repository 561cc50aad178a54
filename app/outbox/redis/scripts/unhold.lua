-- Releases or cancels what is held of events: {the state it ends in (0: release), why, {{field of the event's id, nonce}...}}.
-- Answers for each event the destinations that were changed, and those that are leased: their time is over.
local state, why = input[1], input[2]
allow_full()

local function find(field, wanted)
  for _, entry in ipairs(index_get('i', field) or {}) do
    local seq = type(entry) == 'number' and text(entry)
    local event = seq and event_of(seq)
    if event then
      local _, _, _, nonce = struct.unpack(EVENT_HEADER, event)
      if nonce == wanted then
        return seq
      end
    end
  end
end

local function release(seq, dest, queue)
  local live = 'live' .. string.sub(queue, #'held' + 1)
  redis.call('ZREM', READY .. dest .. '\t' .. queue, seq)
  redis.call('ZADD', READY .. dest .. '\t' .. live, text(now), seq)
  redis.call('SADD', QUEUES .. dest, live)
  -- It is older than the instant it is ready at tells.
  redis.call('HSET', CLAIMS .. dest, seq, UNTRIED)
  lower_oldest(dest, tonumber(seq))
end

local function cancel(seq, dest, queue, lead, limited, size)
  local event = event_of(seq)
  local pending, dead, accepted, nonce, till, head_size = struct.unpack(EVENT_HEADER, event)
  local ms = math.max(0, math.floor((now - accepted) / 1000))
  redis.call('ZREM', READY .. dest .. '\t' .. queue, seq)
  redis.call('HDEL', CLAIMS .. dest, seq)
  count(dest, PENDING, -1, lead[2], lead[3], lead[4], size)
  count(dest, state, 1, lead[2], lead[3], lead[4], 0)
  change_event(seq, struct.pack(EVENT_HEADER, pending - 1, dead, accepted, nonce, till, head_size)
    .. string.sub(event, EVENT_SIZE + 1) .. struct.pack(END, state + limited * LIMITED, 0, ms, #dest, #why) .. dest .. why)
end

local function unhold(seq, body)
  local _, _, _, size = struct.unpack(BODY_HEADER, body)
  local head = head_of(event_of(seq))
  local changed, in_flight, seen = {}, {}, {}
  for _, lead in ipairs(leads_of(body)) do
    for _, planned in ipairs(lead[5]) do
      local dest = planned[1]
      local queue, score
      if not seen[dest] then
        queue, score = held_in(dest, head, seq)
      end
      seen[dest] = true
      if queue then
        local claim = redis.call('HGET', CLAIMS .. dest, seq)
        local token = claim and struct.unpack(CLAIM, claim) or 0
        if token ~= 0 and score > now then
          in_flight[#in_flight + 1] = dest
        else
          changed[#changed + 1] = dest
          if state == PENDING then
            release(seq, dest, queue)
          else
            cancel(seq, dest, queue, lead, planned[2], size)
          end
        end
      end
    end
  end
  return {changed, in_flight}
end

local answer = {}
for position, asked in ipairs(input[3]) do
  local seq = find(asked[1], asked[2])
  local body = seq and body_of(seq)
  answer[position] = body and unhold(seq, body) or {{}, {}}
end
write()
return answer
