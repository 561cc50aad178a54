-- Reads events in the order of their numbers: {after this one, how many to look at, since, before, source}. Answers the
-- last number looked at, 0 when there are no more, and the stories of those with a transaction that fit, see `story`.
-- What the sweep had to leave behind is not among them: it is older than the journal.
local after, most, since, before, source = input[1], input[2], input[3], input[4], input[5]
local told = redis.call('HMGET', P, 'seq', 'floor')
local last, floor = tonumber(told[1] or 0), tonumber(told[2] or 0)
local first = math.max(after, floor) + 1
local stop = math.min(last, first + most - 1)
local seqs, answer = {}, {stop < last and stop or 0}
for number = first, stop do
  seqs[#seqs + 1] = text(number)
end
read_events(seqs)
for _, seq in ipairs(seqs) do
  local event = events[seq]
  if event then
    local _, _, accepted, _, _, head_size = struct.unpack(EVENT_HEADER, event)
    if accepted >= since and accepted < before then
      local head = cmsgpack.unpack(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + head_size))
      if head[1] == source and head[4] then
        answer[#answer + 1] = story(seq)
      end
    end
  end
end
return answer
