-- Deletes settled events that are neither remembered nor in the journal any more: {after, how many to look at,
-- retention in microseconds, buckets}. Answers how many went and where the next call goes on (0: from the start).
local after, most, before, buckets = input[1], input[2], now - input[3], input[4]
local last = tonumber(redis.call('HGET', P, 'seq') or 0)
local floor = tonumber(redis.call('HGET', P, 'floor') or 0)
local gone, position = 0, math.max(after, floor)

local function is_due(rec)
  if rec[UNTIL] > now or rec[ACCEPTED] > before or has_state(rec, PENDING, DEAD) then
    return false
  end
  for _, delivery in ipairs(rec[DELIVERIES]) do
    if delivery[SETTLED] > before then
      return false
    end
  end
  return true
end

-- The same place `app.outbox.redis.places` computes for (source, event_id).
local function place_of(rec)
  local hex = redis.sha1hex(rec[SOURCE] .. '\0' .. rec[ID])
  local field = string.gsub(string.sub(hex, 9, 24), '..', function(pair)
    return string.char(tonumber(pair, 16))
  end)
  return tonumber(string.sub(hex, 5, 8), 16) % buckets, field
end

local function forget(seq, rec)
  local bucket, field = place_of(rec)
  local index = P .. ':i:' .. text(bucket)
  local packed = redis.call('HGET', index, field)
  local left = {}
  for _, number in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    if text(number) ~= seq then
      table.insert(left, number)
    end
  end
  if #left > 0 then
    redis.call('HSET', index, field, cmsgpack.pack(left))
  else
    redis.call('HDEL', index, field)
  end
  redis.call('DEL', P .. ':e:' .. seq, P .. ':b:' .. seq)
end

allow_full()
local is_prefix = position == floor
local stop = math.min(last, position + most)
while position < stop do
  local seq = text(position + 1)
  local rec = record(seq)
  if rec and is_due(rec) then
    forget(seq, rec)
    gone = gone + 1
    rec = false
  end
  position = position + 1
  is_prefix = is_prefix and not rec
  if is_prefix then
    floor = position
  end
end
if floor > 0 then
  redis.call('HSET', P, 'floor', text(floor))
end
return {gone, stop == last and 0 or position}
