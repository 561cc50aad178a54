-- Forgets settled events the journal need not tell of any more: {how many to look at, retention in microseconds}. An id
-- that is to be remembered longer keeps a few bytes. Answers how many went, and 1 where a call should follow.
local most, before = input[1], now - input[2]
local told = redis.call('HMGET', P, 'seq', 'floor', 'swept')
local last, floor = tonumber(told[1] or 0), tonumber(told[2] or 0)
local position = math.max(floor, tonumber(told[3] or 0))
local is_prefix, gone, deleted = position == floor, 0, {}

local function is_due(event, accepted, head_size)
  if string.byte(event, 1) > 0 or string.byte(event, 2) > 0 or accepted > before then
    return false
  end
  for _, delivery in ipairs(ends_of(event, head_size)) do
    if accepted + delivery[3] * 1000 > before then
      return false
    end
  end
  return true
end

local function forget(seq, event, till, head_size)
  local head = cmsgpack.unpack(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + head_size))
  local field = digest(head[1] .. '\0' .. head[3], 5, 12)
  local left = {}
  for _, entry in ipairs(index_get('i', field) or {}) do
    if type(entry) ~= 'number' or text(entry) ~= seq then
      table.insert(left, entry)
    end
  end
  if till * 1000000 > now then
    local marks = {}
    for _, delivery in ipairs(ends_of(event, head_size)) do
      table.insert(marks, mark_of(delivery[4]) .. string.char(delivery[1]))
    end
    local txn = head[4] and digest(head[4] .. '\0' .. (head[5] or '\1'), 1, 6) or ''
    table.insert(left, {till, mark_of(head[2]), txn, table.concat(marks)})
  end
  index_set('i', field, left)
  deleted[#deleted + 1] = EVENT .. seq
  gone = gone + 1
end

allow_full()
local stop, is_young = math.min(last, position + most), false
local seqs = {}
for number = position + 1, stop do
  seqs[#seqs + 1] = text(number)
end
read_events(seqs)
for _, seq in ipairs(seqs) do
  local event = events[seq]
  if event then
    local _, _, accepted, _, till, head_size = struct.unpack(EVENT_HEADER, event)
    -- Numbers follow acceptance but for the skew of clocks: a minute more and all that come are too young.
    is_young = accepted > before + 60000000
    if is_young then
      break
    end
    if is_due(event, accepted, head_size) then
      forget(seq, event, till, head_size)
      event = false
    end
  end
  position = position + 1
  is_prefix = is_prefix and not event
  if is_prefix then
    floor = position
  end
end
for first = 1, #deleted, CHUNK do
  redis.call('DEL', unpack(deleted, first, math.min(first + CHUNK - 1, #deleted)))
end
local is_end = is_young or position >= last
redis.call('HSET', P, 'floor', text(floor), 'swept', text(is_end and 0 or position))
write_shapes()
return {gone, is_end and 0 or 1}
