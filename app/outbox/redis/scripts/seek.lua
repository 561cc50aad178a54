-- Looks for the events of persons: {how many to look at, {mark...}, floor, cursor, number}; floor -1 from the start.
-- First come those the sweep had to leave behind, up to the floor of then, with a cursor that is empty once it is
-- through; then the numbers after the floor. Answers {1 where all were looked at, floor, cursor, number, how many,
-- {story, destinations it is being sent to}...}; a story has its body also where it is needed for dead letters only.
local most, marks, floor, cursor, number = input[1], input[2], input[3], input[4], input[5]
local UNMARKED = 0x96 -- how a head of six fields begins: one without marks
local last = tonumber(redis.call('HGET', P, 'seq') or 0)
if floor < 0 then
  floor, cursor = tonumber(redis.call('HGET', P, 'floor') or 0), '0'
  number = floor
end
local seqs, found = {}, {}
if cursor ~= '' then
  local told = redis.call('ZSCAN', P .. ':l', cursor, 'COUNT', most)
  cursor = told[1] == '0' and '' or told[1]
  for position = 1, #told[2], 2 do
    if tonumber(told[2][position]) <= floor then
      seqs[#seqs + 1] = told[2][position]
    end
  end
end
if cursor == '' then
  local stop = math.min(last, number + most)
  for each_number = number + 1, stop do
    seqs[#seqs + 1] = text(each_number)
  end
  number = math.max(number, stop)
end

local function is_wanted(event)
  if string.byte(event, EVENT_SIZE + 1) == UNMARKED then
    return string.byte(event, 1) > 0 or string.byte(event, 2) > 0
  end
  for _, mark in ipairs(marks) do
    if string.find(event, mark, EVENT_SIZE + 1, true) then
      return true
    end
  end
  return false
end

read_events(seqs)
for _, seq in ipairs(seqs) do
  local event = events[seq]
  if event and is_wanted(event) then
    local row, claimed = story(seq), {}
    if row[3] == '' then
      row[3] = body_of(seq) or ''
    end
    for position = 1, #row[4], 2 do
      if is_claimed(row[4][position], seq, row[4][position + 1]) then
        table.insert(claimed, row[4][position])
      end
    end
    table.insert(found, row)
    table.insert(found, claimed)
  end
end
return {(cursor == '' and number >= last) and 1 or 0, text(floor), cursor, text(number), #seqs, found}
