-- Counts again what is pending and dead: {how many to add up the money of, {dest...}}. Answers the state counts, then of
-- each destination: pending, dead, 1 where their money was added up, {state, currency, deliveries, units, millionths...}.
local most = input[1]
local answer = {redis.call('HGETALL', COUNTS)}

local function add(sums, state, dest, seq)
  local body = redis.call('GET', BODY .. seq)
  local lead
  for _, each_lead in ipairs(body and leads_of(body) or {}) do
    for _, planned in ipairs(each_lead[5]) do
      if not lead and planned[1] == dest then
        lead = each_lead
      end
    end
  end
  local name = state .. '\t' .. (lead and lead[2] or '')
  local sum = sums[name]
  if not sum then
    sum = {state, lead and lead[2] or '', 0, 0, 0}
    sums[name] = sum
  end
  sum[3] = sum[3] + 1
  sum[4] = sum[4] + (lead and lead[3] or 0)
  sum[5] = sum[5] + (lead and lead[4] or 0)
end

for _, dest in ipairs(input[2]) do
  local queues = redis.call('SMEMBERS', QUEUES .. dest)
  local pending, dead = 0, redis.call('ZCARD', DEADS .. dest)
  for _, queue in ipairs(queues) do
    pending = pending + redis.call('ZCARD', READY .. dest .. '\t' .. queue)
  end
  local told, is_read = {}, pending + dead <= most
  if is_read then
    local sums = {}
    for _, queue in ipairs(queues) do
      for _, seq in ipairs(redis.call('ZRANGE', READY .. dest .. '\t' .. queue, 0, -1)) do
        add(sums, PENDING, dest, seq)
      end
    end
    for _, seq in ipairs(redis.call('ZRANGE', DEADS .. dest, 0, -1)) do
      add(sums, DEAD, dest, seq)
    end
    for _, sum in pairs(sums) do
      is_read = is_read and math.abs(sum[4]) < 4e15
      for position = 1, 5 do
        table.insert(told, type(sum[position]) == 'number' and text(sum[position]) or sum[position])
      end
    end
  end
  table.insert(answer, {pending, dead, is_read and 1 or 0, told})
end
return answer
