-- Takes plans whose ids are resolved: {{source, name, id, txn, occurrence, accepted, until, verdicts, bucket, field,
-- note field, note, is other id, sends conflicts, reserved, {{dest, limited, term}...}, terms, body}...}.
-- Answers {{code, {{dest, state, reason, detail, limited}...}}...}.
local NEW, MORE, DUPLICATE, CONFLICT, FOREIGN, LATE = 1, 2, 3, 4, 5, 6
local RESERVED_FOR = 30

local function is_live(rec)
  return rec[UNTIL] > now or has_state(rec, PENDING, PENDING)
end

local function queue(seq, rec, plan, skip)
  local fresh = 0
  local base = #rec[TERMS]
  for _, planned in ipairs(plan[16]) do
    local dest, limited, term = planned[1], planned[2], planned[3]
    if not skip[dest] then
      skip[dest] = true
      fresh = fresh + 1
      if fresh == 1 then
        for position, terms in ipairs(plan[17]) do
          rec[TERMS][base + position] = terms
        end
        redis.call('SET', P .. ':b:' .. seq, plan[18], 'NX')
      end
      local terms = plan[17][term]
      table.insert(rec[DELIVERIES], {dest, PENDING, base + term, limited, 0, 0, 0, 0, false, false, false, 0, 0})
      redis.call('ZADD', P .. ':r:' .. dest, text(plan[6]), seq)
      if rec[ACCEPTED] ~= plan[6] then
        redis.call('ZADD', P .. ':o:' .. dest, text(rec[ACCEPTED]), seq)
      end
      count(dest, 'q', terms, 1)
      count(dest, PENDING, terms, 1)
    end
  end
  return fresh
end

local function find(plan)
  local index = P .. ':i:' .. plan[9]
  local packed = redis.call('HGET', index, plan[10])
  local seqs = packed and cmsgpack.unpack(packed) or {}
  local known, exact
  for _, number in ipairs(seqs) do
    local seq = text(number)
    local rec = record(seq)
    if rec and rec[ID] == plan[3] and rec[NAME] == plan[2] and rec[SOURCE] == plan[1] and is_live(rec) then
      known = known or seq
      if rec[TXN] == plan[4] and rec[OCCURRENCE] == plan[5] then
        exact = exact or seq
      end
    end
  end
  return seqs, known, exact
end

local function is_conflict(plan, known)
  local txn = plan[4]
  if plan[13] then
    return true
  end
  if not txn then
    return false
  end
  local rec = known and record(known)
  if rec and rec[TXN] then
    return rec[TXN] ~= txn or rec[OCCURRENCE] ~= plan[5]
  end
  local note = redis.call('HGET', P .. ':m:' .. plan[9], plan[11])
  if note then
    note = cmsgpack.unpack(note)
    return note[1] > now and note[2] ~= plan[12]
  end
  return false
end

local function add_event(plan, seqs)
  local seq = text(redis.call('HINCRBY', P, 'seq', 1))
  local rec = {plan[1], plan[2], plan[3], plan[4], plan[5], plan[6], plan[7], plan[8], {}, {}}
  table.insert(seqs, tonumber(seq))
  redis.call('HSET', P .. ':i:' .. plan[9], plan[10], cmsgpack.pack(seqs))
  records[seq] = rec
  changed[seq] = true
  queue(seq, rec, plan, {})
  return {NEW, {}}
end

local function repeat_event(plan, seq)
  local rec = record(seq)
  local before, skip = {}, {}
  for _, d in ipairs(rec[DELIVERIES]) do
    table.insert(before, {d[DEST], d[STATE], d[REASON], d[DETAIL], d[LIMITED]})
    skip[d[DEST]] = true
  end
  if queue(seq, rec, plan, skip) == 0 then
    return {DUPLICATE, before}
  end
  changed[seq] = true
  return {MORE, before}
end

local answers = {}
for position, plan in ipairs(input) do
  local answer
  if plan[15] ~= 0 and now / 1000000 - plan[15] > RESERVED_FOR then
    answer = {LATE, {}}
  else
    local seqs, known, exact = find(plan)
    local target = known
    if is_conflict(plan, known) then
      if not plan[14] then
        answer = {exact and CONFLICT or FOREIGN, {}}
      end
      target = exact
    end
    if not answer then
      answer = target and repeat_event(plan, target) or add_event(plan, seqs)
    end
  end
  answers[position] = answer
end
write()
return cmsgpack.pack(answers)
