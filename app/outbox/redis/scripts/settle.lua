-- Ends claims: {{seq, dest, token, state (0: to be tried again), reason, detail, trace, ready at, attempted, unsure,
-- unknown answers}...}.
-- Answers how many took effect, of each in turn 1 or 0. A stale token changes nothing, but what was delivered counts.
local DELIVERED = 1
local answer = {}
allow_full()
for position, item in ipairs(input) do
  local seq, dest, state = text(item[1]), item[2], item[4]
  local rec = record(seq)
  local d = delivery_of(rec, dest)
  local done = 0
  if d and d[STATE] == PENDING then
    local is_current = d[TOKEN] ~= 0 and d[TOKEN] == item[3]
    if is_current or state == DELIVERED then
      done = 1
      changed[seq] = true
      d[TOKEN] = 0
      d[CLAIMED] = 0
      d[ATTEMPTS] = d[ATTEMPTS] + item[9]
      if d[UNSURE] == 0 then
        d[UNSURE] = item[10]
      end
      if state == PENDING then
        d[REASON] = item[5] or d[REASON]
        d[DETAIL] = item[6] or d[DETAIL]
        d[TRACE] = item[7] or d[TRACE]
        d[UNKNOWN] = item[11]
        redis.call('ZADD', P .. ':r:' .. dest, text(item[8] or now), seq)
      else
        d[STATE] = state
        d[REASON] = item[5]
        d[DETAIL] = item[6]
        d[TRACE] = item[7]
        d[SETTLED] = now
        redis.call('ZREM', P .. ':r:' .. dest, seq)
        redis.call('ZREM', P .. ':o:' .. dest, seq)
        count(dest, PENDING, rec[TERMS][d[TERM]], -1)
        count(dest, state, rec[TERMS][d[TERM]], 1)
        if state == DEAD then
          redis.call('ZADD', P .. ':x:' .. dest, text(now), seq)
        end
      end
    end
  end
  answer[position] = done
end
write()
return answer
