-- Moves the ends of leases: {lease in microseconds, {{seq, dest, token}...}}.
allow_full()
for _, item in ipairs(input[2]) do
  local seq, dest = text(item[1]), item[2]
  local delivery = delivery_of(record(seq), dest)
  if delivery and delivery[STATE] == PENDING and delivery[TOKEN] == item[3] then
    redis.call('ZADD', P .. ':r:' .. dest, text(now + input[1]), seq)
  end
end
return 0
