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

-- The places in the record of an event, and in the record of one of its deliveries.
local SOURCE, NAME, ID, TXN, OCCURRENCE, ACCEPTED, UNTIL, VERDICTS, DELIVERIES, TERMS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local DEST, STATE, TERM, LIMITED, ATTEMPTS, TOKEN, CLAIMED, UNSURE, REASON, DETAIL, TRACE, SETTLED, UNKNOWN =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
local PENDING, DEAD, PURGED = 0, 2, 6

local function text(number)
  return string.format('%.0f', number)
end

-- Makes the call a writing one before memory matters: what ends deliveries must work while the server is full.
local function allow_full()
  redis.call('DEL', P .. ':-')
end

local records, changed = {}, {}

local function record(seq)
  if records[seq] == nil then
    local raw = redis.call('GET', P .. ':e:' .. seq)
    records[seq] = raw and cmsgpack.unpack(raw) or false
  end
  return records[seq]
end

local function delivery_of(rec, dest)
  if rec then
    for _, delivery in ipairs(rec[DELIVERIES]) do
      if delivery[DEST] == dest then
        return delivery
      end
    end
  end
  return nil
end

local function has_state(rec, first, second)
  for _, delivery in ipairs(rec[DELIVERIES]) do
    if delivery[STATE] == first or delivery[STATE] == second then
      return true
    end
  end
  return false
end

local sums = {}

local function add(field, by)
  local sum = (sums[field] or 0) + by
  if sum > 4e15 or sum < -4e15 then
    redis.call('HINCRBY', P .. ':n', field, text(sum))
    sum = 0
  end
  sums[field] = sum
end

-- Count one delivery into (sign 1) or out of (-1) a state: how many, whole units of money, millionths.
local function count(dest, state, terms, sign)
  local field = dest .. '\t' .. state .. '\t' .. (terms[1] or '') .. '\t'
  add(field .. 'n', sign)
  if terms[1] then
    add(field .. 'u', sign * terms[2])
    add(field .. 'm', sign * terms[3])
  end
end

-- Write the counts and the records that changed. An event with nothing left to deliver loses its body.
local function write()
  for field, sum in pairs(sums) do
    if sum ~= 0 then
      redis.call('HINCRBY', P .. ':n', field, text(sum))
    end
  end
  for seq in pairs(changed) do
    local rec = records[seq]
    if not has_state(rec, PENDING, DEAD) then
      redis.call('DEL', P .. ':b:' .. seq)
      rec[TERMS] = {}
    end
    redis.call('SET', P .. ':e:' .. seq, cmsgpack.pack(rec))
  end
end
