-- Keeps the first report of each side of a pair: {due at, until, {{field, source, event id, side, body,
-- whether a conflict}...}, most conflicts of a pair}. A judged pair that another side joins is due now.
-- Answers of each in turn 1 where it is new, or 0.
local due_at, till, answer = input[1], input[2], {}
local due = P .. ':wd'
for position, item in ipairs(input[3]) do
  local key = P .. ':w:' .. item[1]
  local is_new = redis.call('HSETNX', key, 'whose', cmsgpack.pack({item[2], item[3]}))
  if is_new == 1 then
    redis.call('PEXPIRE', key, text(math.max(1, math.ceil((till - now) / 1000))))
    redis.call('ZADD', due, text(due_at), item[1])
  end
  local is_first = 0
  if not item[6] then
    is_first = redis.call('HSETNX', key, 's:' .. item[4], item[5])
  elseif tonumber(redis.call('HGET', key, 'conflicts') or 0) < input[4] then
    is_first = redis.call('HSETNX', key, 's:' .. item[4], item[5])
    if is_first == 1 then
      redis.call('HINCRBY', key, 'conflicts', 1)
    end
  end
  if is_first == 1 and is_new == 0 and not redis.call('ZSCORE', due, item[1]) then
    redis.call('ZADD', due, text(now), item[1])
  end
  answer[position] = is_first
end
return answer
