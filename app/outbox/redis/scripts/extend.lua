-- Moves the ends of leases: {lease in microseconds, {{seq, dest, token}...}}. Answers of each in turn 1 where it is still held, or 0.
local answer = {}
allow_full()
for position, item in ipairs(input[2]) do
  local seq, dest = text(item[1]), item[2]
  local delivery = delivery_of(record(seq), dest)
  answer[position] = 0
  if delivery and delivery[STATE] == PENDING and delivery[TOKEN] == item[3] then
    redis.call('ZADD', P .. ':r:' .. dest, text(now + input[1]), seq)
    answer[position] = 1
  end
end
return answer
