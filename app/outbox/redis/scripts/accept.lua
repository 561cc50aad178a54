-- Takes plans whose ids are resolved: {{field, head, event, lead, accepted, until, nonce, queue, is other id, sends
-- conflicts, reserved, {dest...}, currency, units, millionths, name's mark, transaction's mark, proof's list, proof,
-- its end, {microseconds from acceptance for which each destination is held...}}...}.
-- Answers {code, story of the event that is there or nothing, {dest, state...} of one the journal forgot} for each.
local NEW, MORE, DUPLICATE, CONFLICT, FOREIGN, LATE = 1, 2, 3, 4, 5, 6
local FIELD, HEAD, BASKET, LEAD, ACCEPTED, UNTIL, NONCE, QUEUE, IS_OTHER, SENDS, RESERVED, DESTS = 1, 2, 3, 4, 5, 6, 7, 8,
  9, 10, 11, 12
local CURRENCY, UNITS, MILLIONTHS, NAME, TXN, PROOFS, PROOF, PROOF_END, HELD = 13, 14, 15, 16, 17, 18, 19, 20, 21
local RESERVED_FOR = 30

local ready = {}
local last = tonumber(redis.call('HGET', P, 'seq') or 0)
local first = last

-- Queue a plan's event where `skip` does not say that it was queued before; returns for how many destinations.
local function queue(seq, plan, size, skip, is_old)
  local fresh = 0
  for position, dest in ipairs(plan[DESTS]) do
    if not skip[dest] then
      local held = plan[HELD][position]
      skip[dest] = true
      fresh = fresh + 1
      local name = dest .. '\t' .. plan[QUEUE]
      local words = ready[name]
      if not words then
        words = {}
        ready[name] = words
        redis.call('SADD', QUEUES .. dest, plan[QUEUE])
      end
      if is_old and not held then
        -- It is older than the instant it is ready at tells.
        redis.call('HSET', CLAIMS .. dest, seq, UNTRIED)
        lower_oldest(dest, tonumber(seq))
      end
      -- A gateway whose clock is ahead must not make its events wait until ours is there.
      words[#words + 1] = text(math.min(plan[ACCEPTED], now) + (held or 0))
      words[#words + 1] = seq
      count(dest, 'q', 1, plan[CURRENCY], plan[UNITS], plan[MILLIONTHS], 0)
      count(dest, PENDING, 1, plan[CURRENCY], plan[UNITS], plan[MILLIONTHS], size)
    end
  end
  return fresh
end

local function body_with(plan, accepted, nonce)
  return struct.pack(BODY_HEADER, 1, accepted, nonce, #plan[BASKET]) .. plan[BASKET] .. plan[LEAD]
end

local function prove(plan)
  if plan[PROOF] ~= '' then
    local key = P .. ':j:' .. plan[PROOFS]
    redis.call('RPUSH', key, plan[PROOF])
    redis.call('EXPIREAT', key, text(plan[PROOF_END]))
  end
end

local function add_event(plan, entries, skip)
  last = last + 1
  local seq = text(last)
  entries[#entries + 1] = last
  index_set('i', plan[FIELD], entries)
  prove(plan)
  local fresh = queue(seq, plan, #plan[BASKET], skip, false)
  local header = struct.pack(EVENT_HEADER, fresh, 0, plan[ACCEPTED], plan[NONCE], plan[UNTIL], #plan[HEAD])
  change_event(seq, header .. plan[HEAD])
  if fresh > 0 then
    set_body(seq, body_with(plan, plan[ACCEPTED], plan[NONCE]))
  end
end

-- The head with the marks of who else a later copy is about. They stand last in it, as text.
local function head_with(head, other)
  local kept, more = cmsgpack.unpack(head), cmsgpack.unpack(other)[7]
  if #kept ~= 7 or not more or more == '' or string.find(kept[7], more, 1, true) then
    return head
  end
  return string.sub(head, 1, #head - #cmsgpack.pack(kept[7])) .. cmsgpack.pack(kept[7] .. more)
end

local function repeat_event(plan, seq, skip, told)
  local before = story(seq)
  local event, body = event_of(seq), body_of(seq)
  local pending, dead, accepted, nonce, till, size = struct.unpack(EVENT_HEADER, event)
  for _, delivery in ipairs(ends_of(event, size)) do
    skip[delivery[4]] = true
  end
  local basket = #plan[BASKET]
  if body then
    for _, lead in ipairs(leads_of(body)) do
      for _, planned in ipairs(lead[5]) do
        skip[planned[1]] = true
      end
    end
    local _, _, _, kept = struct.unpack(BODY_HEADER, body)
    basket = kept
  end
  local fresh = queue(seq, plan, basket, skip, true)
  if fresh == 0 then
    return {DUPLICATE, before, told}
  end
  prove(plan)
  if body then
    set_body(seq, string.char(string.byte(body, 1) + 1) .. string.sub(body, 2) .. plan[LEAD])
  else
    set_body(seq, body_with(plan, accepted, nonce))
  end
  local head = head_with(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + size), plan[HEAD])
  local header = struct.pack(EVENT_HEADER, pending + fresh, dead, accepted, nonce, till, #head)
  change_event(seq, header .. head .. string.sub(event, EVENT_SIZE + size + 1))
  return {MORE, before, told}
end

-- The journal knows it no more, the id is remembered still: {until, name, transaction, marks and
-- states of its destinations}.
local function repeat_forgotten(plan, entries, entry, seq)
  local skip, told, is_fresh = {}, {}, false
  for _, dest in ipairs(plan[DESTS]) do
    local mark = mark_of(dest)
    for place = 1, #entry[4], 4 do
      if string.sub(entry[4], place, place + 2) == mark then
        skip[dest] = true
        table.insert(told, dest)
        table.insert(told, string.byte(entry[4], place + 3))
      end
    end
    is_fresh = is_fresh or not skip[dest]
  end
  if seq then
    return repeat_event(plan, seq, skip, told)
  end
  if not is_fresh then
    return {DUPLICATE, {}, told}
  end
  add_event(plan, entries, skip)
  return {MORE, {}, told}
end

-- What is remembered of this name under the id: the first of any transaction, and the first of this one.
local function find(plan, entries)
  local found = {}
  local function add(seq, entry, has_txn, is_same)
    if found.has_txn == nil then
      found.has_txn, found.is_same = has_txn, is_same
    end
    found.seq, found.entry = found.seq or seq, found.entry or entry
    if is_same then
      found.exact_seq, found.exact_entry = found.exact_seq or seq, found.exact_entry or entry
    end
  end
  local head = cmsgpack.unpack(plan[HEAD])
  for _, entry in ipairs(entries) do
    if type(entry) == 'number' then
      local seq = text(entry)
      local event = event_of(seq)
      if event then
        local pending, _, _, _, till, size = struct.unpack(EVENT_HEADER, event)
        local kept = cmsgpack.unpack(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + size))
        local is_live = pending > 0 or till * 1000000 > now
        if is_live and kept[1] == head[1] and kept[2] == head[2] and kept[3] == head[3] then
          add(seq, nil, kept[4] and true, kept[4] == head[4] and kept[5] == head[5])
        end
      end
    elseif entry[1] * 1000000 > now and entry[2] == plan[NAME] then
      if entry[4] then
        add(nil, entry, entry[3] ~= '', entry[3] == plan[TXN])
      else
        found.note = entry
      end
    end
  end
  return found
end

local function is_conflict(plan, found)
  if plan[IS_OTHER] then
    return true
  end
  if plan[TXN] == '' then
    return false
  end
  if found.has_txn then
    return not found.is_same
  end
  return found.note ~= nil and found.note[3] ~= plan[TXN]
end

local function take(plan)
  if plan[RESERVED] ~= 0 and now / 1000000 - plan[RESERVED] > RESERVED_FOR then
    return {LATE, {}, {}}
  end
  local entries = index_get('i', plan[FIELD]) or {}
  local found = #entries > 0 and find(plan, entries) or {}
  local seq, entry = found.seq, found.entry
  if is_conflict(plan, found) then
    seq, entry = found.exact_seq, found.exact_entry
    if not plan[SENDS] then
      return {(seq or entry) and CONFLICT or FOREIGN, {}, {}}
    end
  end
  if entry then
    return repeat_forgotten(plan, entries, entry, seq)
  elseif seq then
    return repeat_event(plan, seq, {}, {})
  end
  add_event(plan, entries, {})
  return {NEW, {}, {}}
end

local answers = {}
for position, plan in ipairs(input) do
  answers[position] = take(plan)
end
for name, words in pairs(ready) do
  each('ZADD', READY .. name, words)
end
if last ~= first then
  redis.call('HSET', P, 'seq', text(last))
end
write()
write_shapes()
return answers
