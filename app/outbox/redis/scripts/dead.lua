-- Numbers of dead letters, the oldest first: {dest, since, before, instant, number, keeps, how many}; instants as text, or
-- empty. Those at `instant` come where their number is greater than `number`, or the same if `keeps`, then later ones.
-- Answers 1 where there are more, then instant and number of each: all of an instant, or none of it.
local key, since, before, instant, number, keeps, most =
  DEADS .. input[1], input[2], input[3], input[4], input[5], input[6], input[7]
local upto = before ~= '' and '(' .. before or '+inf'
local from = since ~= '' and since or '-inf'
local rows = {}

local function add_instant(score, fits)
  for _, seq in ipairs(redis.call('ZRANGEBYSCORE', key, score, score)) do
    local value = tonumber(seq)
    if fits(value) then
      rows[#rows + 1] = {tonumber(score), value, seq}
    end
  end
end

if instant ~= '' and (since == '' or tonumber(since) <= tonumber(instant)) then
  from = '(' .. instant
  if before == '' or tonumber(instant) < tonumber(before) then
    add_instant(instant, function(value)
      return value > number or (keeps and value == number)
    end)
  end
end

local found = redis.call('ZRANGEBYSCORE', key, from, upto, 'WITHSCORES', 'LIMIT', 0, math.max(1, most - #rows))
local last = found[#found]
for position = 2, #found, 2 do
  if found[position] ~= last then
    rows[#rows + 1] = {tonumber(found[position]), tonumber(found[position - 1]), found[position - 1]}
  end
end
if last then
  add_instant(last, function()
    return true
  end)
end
table.sort(rows, function(one, other)
  if one[1] ~= other[1] then
    return one[1] < other[1]
  end
  return one[2] < other[2]
end)
local answer = {last and redis.call('ZCOUNT', key, '(' .. last, upto) > 0 and 1 or 0}
for _, row in ipairs(rows) do
  answer[#answer + 1], answer[#answer + 2] = text(row[1]), row[3]
end
return answer
