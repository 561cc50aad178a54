-- Ends claims: {{dest, queue, {seq...}, {end...}}...}; `records.py` packs the ends. Answers for each group and each of
-- its ends in turn 1 where it took effect, else 0. A stale token changes nothing, but what was delivered counts.
local ITEM = '>I8I4BBBI8I2I8i8i4I4s' -- the eighth: microseconds from now, by which a retry waits
local answer = {}
allow_full()

local function settle_group(dest, queue, seqs, items)
  local waiting, claims = READY .. dest .. '\t' .. queue, CLAIMS .. dest
  read_events(seqs)
  local told, known, settled = fetch('HMGET', claims, seqs), {}, {}
  for position, seq in ipairs(seqs) do
    known[seq] = told[position]
  end
  local ended, kept, later, died = {}, {}, {}, {}
  for position, seq in ipairs(seqs) do
    local event = events[seq]
    local token, whose, state, attempted, limited, unsure, unknown, delay, units, millionths, size, currency, after =
      struct.unpack(ITEM, items[position])
    local pending, dead, accepted, nonce, till, head_size
    if event then
      pending, dead, accepted, nonce, till, head_size = struct.unpack(EVENT_HEADER, event)
    end
    answer[#answer + 1] = 0
    if nonce == whose and not settled[seq] then
      local current, attempts, before, claim = 0, 0, 0, known[seq]
      if claim then
        local _
        current, _, before, attempts = struct.unpack(CLAIM, claim)
      end
      local is_current = current ~= 0 and current == token
      if is_current or (state == DELIVERED and redis.call('ZSCORE', waiting, seq)) then
        answer[#answer] = 1
        attempts = math.min(attempts + attempted, 65535)
        before = before ~= 0 and before or unsure
        local why = string.sub(items[position], after)
        if state == PENDING then
          if why == '' and claim then
            why = string.sub(claim, CLAIM_SIZE + 1)
          end
          known[seq] = struct.pack(CLAIM, 0, 0, before, attempts, unknown) .. why
          kept[seq] = known[seq]
          later[#later + 1], later[#later + 2] = text(now + delay), seq
        else
          settled[seq] = true
          ended[#ended + 1] = seq
          kept[seq] = nil
          pending = pending - 1
          if state == DEAD then
            dead = dead + 1
            died[#died + 1], died[#died + 2] = text(now), seq
          end
          local ms = math.max(0, math.floor((now - accepted) / 1000))
          local last = struct.pack(END, state + limited * LIMITED, attempts, ms, #dest, #why)
          change_event(seq, struct.pack(EVENT_HEADER, pending, dead, accepted, nonce, till, head_size)
            .. string.sub(event, EVENT_SIZE + 1) .. last .. dest .. why)
          count(dest, PENDING, -1, currency, units, millionths, size)
          count(dest, state, 1, currency, units, millionths, 0)
        end
      end
    end
  end
  local words = {}
  for seq, claim in pairs(kept) do
    words[#words + 1], words[#words + 2] = seq, claim
  end
  each('HSET', claims, words)
  each('ZADD', waiting, later)
  each('ZREM', waiting, ended)
  each('HDEL', claims, ended)
  each('ZADD', DEADS .. dest, died)
end

for _, group in ipairs(input) do
  settle_group(group[1], group[2], group[3], group[4])
end
write()
return answer
