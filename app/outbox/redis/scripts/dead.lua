-- Looks through dead letters, oldest first: {dest, offset, how many to look at, most, reason, event_id, source, died
-- before, with bodies}. Answers how many it looked at, then seq, instant, record, body of those that fit.
local dest, offset, most = input[1], input[2], input[4]
local found = redis.call('ZRANGE', P .. ':x:' .. dest, offset, offset + input[3] - 1, 'WITHSCORES')
local answer = {0}
for position = 1, #found, 2 do
  local seq, died = found[position], tonumber(found[position + 1])
  if (#answer - 1) / 4 >= most or (input[8] and died >= input[8]) then
    return answer
  end
  answer[1] = answer[1] + 1
  local raw = redis.call('GET', P .. ':e:' .. seq)
  local rec = raw and cmsgpack.unpack(raw)
  local d = delivery_of(rec, dest)
  if d and (not input[5] or d[REASON] == input[5]) and (not input[6] or rec[ID] == input[6])
    and (not input[7] or rec[SOURCE] == input[7]) then
    table.insert(answer, seq)
    table.insert(answer, text(died))
    table.insert(answer, raw)
    table.insert(answer, input[9] and redis.call('GET', P .. ':b:' .. seq) or '')
  end
end
return answer
