-- Moves the ends of leases: {lease in microseconds, {{seq, dest, queue, token}...}}. Answers of each in turn 1 where it
-- is still held, or 0.
local answer = {}
local till = text(now + input[1])
allow_full()
for position, item in ipairs(input[2]) do
  local seq, dest, queue, token = item[1], item[2], item[3], item[4]
  local claim = redis.call('HGET', CLAIMS .. dest, seq)
  answer[position] = 0
  if claim and struct.unpack('>I8', claim) == token then
    redis.call('ZADD', READY .. dest .. '\t' .. queue, till, seq)
    answer[position] = 1
  end
end
return answer
