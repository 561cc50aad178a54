-- Leases deliveries: {dest, token, lease in microseconds, {seq...}}. Answers now, then seq, record, body of each that
-- was still ready. A token that is still there belongs to a claim that nobody ended: its attempt counts, and its end
-- is unknown.
local dest, token, lease, wanted = input[1], input[2], input[3], input[4]
local ready, tried = P .. ':r:' .. dest, P .. ':o:' .. dest
local answer = {text(now)}
allow_full()
for _, number in ipairs(wanted) do
  local seq = text(number)
  local score = redis.call('ZSCORE', ready, seq)
  if score and tonumber(score) <= now then
    local rec = record(seq)
    local delivery = delivery_of(rec, dest)
    if delivery then
      if delivery[TOKEN] ~= 0 then
        delivery[ATTEMPTS] = delivery[ATTEMPTS] + 1
        if delivery[UNSURE] == 0 then
          delivery[UNSURE] = delivery[CLAIMED]
        end
      end
      delivery[TOKEN] = token
      delivery[CLAIMED] = now
      redis.call('ZADD', ready, text(now + lease), seq)
      redis.call('ZADD', tried, text(rec[ACCEPTED]), seq)
      local packed = cmsgpack.pack(rec)
      redis.call('SET', P .. ':e:' .. seq, packed)
      table.insert(answer, seq)
      table.insert(answer, packed)
      table.insert(answer, redis.call('GET', P .. ':b:' .. seq))
    else
      redis.call('ZREM', ready, seq)
    end
  end
end
return answer
