-- Put before every script. KEYS[1] is the tag of a partition: the key every other key of the partition begins with,
-- so all of them live in one slot. ARGV: the store's identity, the instant in microseconds (empty: the server's own
-- clock), the payload in msgpack.
local P = KEYS[1]
if redis.call('HGET', P, 'store') ~= ARGV[1] then
  return redis.error_reply('GONE the data of the store has vanished')
end
local now
if ARGV[2] ~= '' then
  now = tonumber(ARGV[2])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local input = cmsgpack.unpack(ARGV[3])

-- The key map at the top of the package tells what these hold; `records.py` reads the same bytes.
local EVENT, BODY, READY, CLAIMS, DEADS, QUEUES = P .. ':e:', P .. ':b:', P .. ':r:', P .. ':s:', P .. ':x:', P .. ':k:'
local OLDEST, COUNTS = P .. ':o', P .. ':n'
-- pending, dead, accepted at, nonce, remembered until, size of the head that follows
local EVENT_HEADER, EVENT_SIZE = '>BBI8I4I4I2', 20
-- number of leads, accepted at, nonce, size of the event that follows; the leads follow that
local BODY_HEADER, BODY_SIZE = '>BI8I4I4', 17
-- token, claimed at, unsure since, attempts, unknown answers; why it is tried again follows
local CLAIM, CLAIM_SIZE = '>I8I8I8I2I2', 28
-- state, attempts, milliseconds from acceptance to the end, size of the destination's name, size of why; both follow
local END, END_SIZE = '>BI2I5BI2', 11
local PENDING, DELIVERED, DEAD, PURGED, LIMITED = 0, 1, 2, 6, 16
local UNTRIED = struct.pack(CLAIM, 0, 0, 0, 0, 0)
local CHUNK = 1000

local function text(number)
  return string.format('%.0f', number)
end

-- Makes the call a writing one before memory matters: what ends deliveries must work while the server is full.
local function allow_full()
  redis.call('DEL', P .. ':-')
end

-- Runs a command with many words after its key, some at a time: Lua passes no more than some thousand at once.
local function each(command, key, words)
  for first = 1, #words, CHUNK do
    redis.call(command, key, unpack(words, first, math.min(first + CHUNK - 1, #words)))
  end
end

-- The answers to a command with many words after its key (nil: the words are keys).
local function fetch(command, key, words)
  local told = {}
  for first = 1, #words, CHUNK do
    local last = math.min(first + CHUNK - 1, #words)
    local part
    if key then
      part = redis.call(command, key, unpack(words, first, last))
    else
      part = redis.call(command, unpack(words, first, last))
    end
    if first == 1 and last == #words then
      return part
    end
    for position = 1, last - first + 1 do
      told[first + position - 1] = part[position]
    end
  end
  return told
end

-- Events and bodies: read once, changed in memory, written together by `write`.
local events, bodies, changed = {}, {}, {}

local function event_of(seq)
  if events[seq] == nil then
    events[seq] = redis.call('GET', EVENT .. seq)
  end
  return events[seq]
end

local function read_events(seqs)
  local keys, wanted = {}, {}
  for _, seq in ipairs(seqs) do
    if events[seq] == nil then
      events[seq] = false
      wanted[#wanted + 1] = seq
      keys[#keys + 1] = EVENT .. seq
    end
  end
  local told = fetch('MGET', nil, keys)
  for position, seq in ipairs(wanted) do
    events[seq] = told[position]
  end
end

local function change_event(seq, event)
  events[seq] = event
  changed[seq] = true
end

local function body_of(seq)
  if bodies[seq] == nil then
    bodies[seq] = redis.call('GET', BODY .. seq)
  end
  return bodies[seq]
end

local function set_body(seq, body)
  bodies[seq] = body
  redis.call('SET', BODY .. seq, body)
end

-- The ends of an event's deliveries: lists {state, attempts, milliseconds, destination, why, first byte, last byte}.
local function ends_of(event, head_size)
  local position, found = EVENT_SIZE + head_size + 1, {}
  while position <= #event do
    local state, attempts, ms, name_size, why_size, after = struct.unpack(END, event, position)
    local last = after + name_size + why_size - 1
    local limited = state >= LIMITED
    table.insert(found, {
      limited and state - LIMITED or state, attempts, ms, string.sub(event, after, after + name_size - 1),
      string.sub(event, after + name_size, last), position, last,
    })
    position = last + 1
  end
  return found
end

-- The leads of a body, each {event_id, currency, units, millionths, {{dest, limited, term}...}, terms}.
local function leads_of(body)
  local _, _, _, size = struct.unpack(BODY_HEADER, body)
  return {cmsgpack.unpack(string.sub(body, BODY_SIZE + size + 1))}
end

-- The head of an event: source, event name, event id, transaction, occurrence come first.
local function head_of(event)
  local _, _, _, _, _, size = struct.unpack(EVENT_HEADER, event)
  return cmsgpack.unpack(string.sub(event, EVENT_SIZE + 1, EVENT_SIZE + size))
end

-- The queue in which a delivery of an event of this head is held, and until when; nothing where it is not.
local function held_in(dest, head, seq)
  for _, name in ipairs({head[2], 'custom'}) do
    local queue = 'held\t' .. name .. '\t' .. head[1]
    local score = redis.call('ZSCORE', READY .. dest .. '\t' .. queue, seq)
    if score then
      return queue, tonumber(score)
    end
  end
end

-- What is kept of an event, to be read by `records.py`: number, event, body, {dest, claim...} of what is pending, and
-- {dest, instant...} of what of it is held.
local function story(seq)
  local event = event_of(seq)
  local pending, _, _, _, _, head_size = struct.unpack(EVENT_HEADER, event)
  if pending == 0 then
    return {seq, event, '', {}, {}}
  end
  local body, ended, claims, held = body_of(seq), {}, {}, {}
  local head = head_of(event)
  for _, delivery in ipairs(ends_of(event, head_size)) do
    ended[delivery[4]] = true
  end
  for _, lead in ipairs(leads_of(body)) do
    for _, planned in ipairs(lead[5]) do
      local dest = planned[1]
      if not ended[dest] then
        ended[dest] = true
        local claim, _, score = redis.call('HGET', CLAIMS .. dest, seq), held_in(dest, head, seq)
        if claim then
          table.insert(claims, dest)
          table.insert(claims, claim)
        end
        if score then
          table.insert(held, dest)
          table.insert(held, text(score))
        end
      end
    end
  end
  return {seq, event, body, claims, held}
end

-- The queue a pending delivery waits in, and the instant it is ready at.
local function place_in(dest, seq)
  for _, queue in ipairs(redis.call('SMEMBERS', QUEUES .. dest)) do
    local score = redis.call('ZSCORE', READY .. dest .. '\t' .. queue, seq)
    if score then
      return queue, tonumber(score)
    end
  end
  return nil, 0
end

-- Whether a delivery with this claim is being sent: somebody holds it, and the lease runs.
local function is_claimed(dest, seq, claim)
  local _, ready = place_in(dest, seq)
  return struct.unpack(CLAIM, claim) ~= 0 and ready > now
end

-- The first bytes of a digest: they stand for a text where it would cost too much. `places.py` computes the same.
local function digest(words, first, last)
  return (string.gsub(string.sub(redis.sha1hex(words), 2 * first - 1, 2 * last), '..', function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function mark_of(name)
  return digest(name, 1, 3)
end

-- The one that `seq` names has a claim from now on: the oldest that has is not after it.
local function lower_oldest(dest, seq)
  if tonumber(redis.call('HGET', OLDEST, dest) or 0) >= seq then
    redis.call('HSET', OLDEST, dest, text(seq - 1))
  end
end

-- The queues of a destination by who draws on one share of a claim (kind TAB source), without those of paused names.
local function groups_of(dest, paused)
  local groups, left_out = {}, {}
  for _, name in ipairs(paused) do
    left_out[name] = true
  end
  for _, queue in ipairs(redis.call('SMEMBERS', QUEUES .. dest)) do
    local kind, name, source = string.match(queue, '^(%a+)\t([^\t]*)\t(.*)$')
    if not left_out[name] then
      -- What is held and yet ready has had its time: it goes with the live ones.
      local group = (kind == 'held' and 'live' or kind) .. '\t' .. source
      groups[group] = groups[group] or {}
      table.insert(groups[group], queue)
    end
  end
  return groups
end

-- Which of two heads {found, position, instant, queue} comes first.
local function is_before(one, other, newest)
  if one[3] ~= other[3] then
    return newest == (one[3] > other[3])
  end
  return newest == (tonumber(one[1][one[2]]) > tonumber(other[1][other[2]]))
end

-- Deliveries of some queues that are ready, from the oldest instant on, or from the newest: numbers, instants, queues.
local function first_ready(dest, queues, most, newest)
  local heads = {}
  for _, queue in ipairs(queues) do
    local key, found = READY .. dest .. '\t' .. queue, nil
    if newest then
      found = redis.call('ZREVRANGEBYSCORE', key, text(now), '-inf', 'WITHSCORES', 'LIMIT', 0, most)
    else
      found = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'WITHSCORES', 'LIMIT', 0, most)
    end
    if #found > 0 then
      heads[#heads + 1] = {found, 1, tonumber(found[2]), queue}
    end
  end
  local seqs, scores, names = {}, {}, {}
  while #seqs < most and #heads > 0 do
    local first = 1
    for position = 2, #heads do
      if is_before(heads[position], heads[first], newest) then
        first = position
      end
    end
    local head = heads[first]
    local found, at, next = head[1], head[2], #seqs + 1
    seqs[next], scores[next], names[next] = found[at], found[at + 1], head[4]
    if found[at + 2] then
      head[2], head[3] = at + 2, tonumber(found[at + 3])
    else
      table.remove(heads, first)
    end
  end
  return seqs, scores, names
end

local sums = {}

-- Count one delivery into (sign 1) or out of (-1) a state: how many, whole units of money, millionths, bytes.
local function count(dest, state, sign, currency, units, millionths, size)
  local states = sums[dest]
  if not states then
    states = {}
    sums[dest] = states
  end
  local currencies = states[state]
  if not currencies then
    currencies = {}
    states[state] = currencies
  end
  local sum = currencies[currency]
  if not sum then
    sum = {0, 0, 0, 0}
    currencies[currency] = sum
  end
  sum[1] = sum[1] + sign
  sum[3] = sum[3] + sign * millionths
  sum[4] = sum[4] + sign * size
  local total = sum[2] + sign * units
  if total > 4e15 or total < -4e15 then
    redis.call('HINCRBY', COUNTS, dest .. '\t' .. state .. '\t' .. currency .. '\tu', text(total))
    total = 0
  end
  sum[2] = total
end

local function write_counts()
  for dest, states in pairs(sums) do
    for state, currencies in pairs(states) do
      local size = 0
      for currency, sum in pairs(currencies) do
        local field = dest .. '\t' .. state .. '\t' .. currency .. '\t'
        size = size + sum[4]
        if sum[1] ~= 0 then
          redis.call('HINCRBY', COUNTS, field .. 'n', text(sum[1]))
        end
        if sum[2] ~= 0 then
          redis.call('HINCRBY', COUNTS, field .. 'u', text(sum[2]))
        end
        if sum[3] ~= 0 then
          redis.call('HINCRBY', COUNTS, field .. 'm', text(sum[3]))
        end
      end
      if state == PENDING and size ~= 0 then
        redis.call('HINCRBY', COUNTS, dest .. '\t0\t\tb', text(size))
      end
    end
  end
end

-- Write the counts and the events that changed. An event with nothing left to deliver loses its body.
local function write()
  write_counts()
  local words, unused = {}, {}
  for seq in pairs(changed) do
    local event = events[seq]
    words[#words + 1] = EVENT .. seq
    words[#words + 1] = event
    if string.byte(event, 1) == 0 and string.byte(event, 2) == 0 then
      unused[#unused + 1] = BODY .. seq
    end
  end
  for first = 1, #words, CHUNK do
    redis.call('MSET', unpack(words, first, math.min(first + CHUNK - 1, #words)))
  end
  for first = 1, #unused, CHUNK do
    redis.call('DEL', unpack(unused, first, math.min(first + CHUNK - 1, #unused)))
  end
end

-- An index: a hash of eight-byte digests, spread over small hashes that Redis packs, one more whenever they fill up
-- (linear hashing). Bucket `b` of 2^l + s is split from bucket `b - 2^l`.
local FULL = 48
local shapes = {}

local function shape_of(kind)
  local shape = shapes[kind]
  if not shape then
    local told = redis.call('HMGET', P, kind .. 'b', kind .. 'n')
    shape = {tonumber(told[1] or 1), tonumber(told[2] or 0)}
    shapes[kind] = shape
  end
  return shape
end

local function bucket_of(kind, field)
  local buckets = shape_of(kind)[1]
  local half = 1
  while half * 2 <= buckets do
    half = half * 2
  end
  local hash = struct.unpack('>I4', field)
  local bucket = hash % (half * 2)
  if bucket >= buckets then
    bucket = bucket - half
  end
  return P .. ':' .. kind .. ':' .. bucket
end

local function index_get(kind, field)
  local packed = redis.call('HGET', bucket_of(kind, field), field)
  return packed and cmsgpack.unpack(packed)
end

local function split(kind, shape)
  local fresh, half = shape[1], 1
  while half * 2 <= fresh do
    half = half * 2
  end
  local from, to = P .. ':' .. kind .. ':' .. (fresh - half), P .. ':' .. kind .. ':' .. fresh
  local found, moved, fields = redis.call('HGETALL', from), {}, {}
  for position = 1, #found, 2 do
    if struct.unpack('>I4', found[position]) % (half * 2) == fresh then
      moved[#moved + 1], moved[#moved + 2] = found[position], found[position + 1]
      fields[#fields + 1] = found[position]
    end
  end
  if #moved > 0 then
    each('HSET', to, moved)
    each('HDEL', from, fields)
  end
  shape[1] = fresh + 1
  redis.call('HSET', P, kind .. 'b', shape[1])
end

local function index_set(kind, field, value)
  local shape = shape_of(kind)
  if #value == 0 then
    shape[2] = shape[2] - redis.call('HDEL', bucket_of(kind, field), field)
    return
  end
  shape[2] = shape[2] + redis.call('HSET', bucket_of(kind, field), field, cmsgpack.pack(value))
  if shape[2] > FULL * shape[1] then
    split(kind, shape)
  end
end

local function write_shapes()
  for kind, shape in pairs(shapes) do
    redis.call('HSET', P, kind .. 'n', text(shape[2]))
  end
end

-- Takes an event out of the index of ids. An id that is to be remembered longer keeps a few bytes there: until when, the
-- marks of its name and its transaction, the marks and states of its destinations.
local function unlist(seq, event, till, head_size)
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
end
