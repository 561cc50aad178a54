-- Resolves the ids of transactions: {{bucket, field, source, name, occurrence, id, is asked for, until, is firm,
-- sends conflicts, drop, keep}...}; `until` in seconds. Answers {{code, id, until, made, kind, now}...}.
--
-- A registry entry {name, occurrence, id, until, made, kind} is made by accept as TENTATIVE (an accept that dies before
-- its event is queued leaves one behind, which a later one may drop), by mint as FIRM; ASIDE ones are only listed.
-- `drop` is {id, how}: 'f' the id turned out to be another transaction's, 'a' nothing came of it, 's' it is forgotten.
local NEW, KEPT, OTHER, STALE = 1, 2, 3, 4
local TENTATIVE, FIRM, ASIDE = 0, 1, 2
local TOUCH_AFTER, ABANDONED_AFTER = 15, 60
local seconds = math.floor(now / 1000000)

local function find(entries, name, occurrence)
  for position = 2, #entries do
    local entry = entries[position]
    if entry[1] == name and entry[2] == occurrence and entry[6] ~= ASIDE then
      return entry, position
    end
  end
  return nil
end

local function put(entries, name, occurrence, id, till, kind)
  for position = #entries, 2, -1 do
    local entry = entries[position]
    if entry[1] == name and entry[2] == occurrence and entry[3] == id and entry[6] == ASIDE then
      table.remove(entries, position)
    end
  end
  table.insert(entries, {name, occurrence, id, till, seconds, kind})
end

-- Whether the entry is gone after it.
local function dropped(entries, entry, position, drop)
  if entry[3] ~= drop[1] then
    return false
  end
  if drop[2] == 's' and entry[4] <= seconds then
    entry[6] = ASIDE
    return true
  end
  if entry[6] == TENTATIVE and (drop[2] == 'f' or (drop[2] == 'a' and seconds - entry[5] > ABANDONED_AFTER)) then
    table.remove(entries, position)
    return true
  end
  return false
end

local answers = {}
for number, item in ipairs(input) do
  local key, field, name, occurrence, id = P .. ':t:' .. item[1], item[2], item[4], item[5], item[6]
  local raw = redis.call('HGET', key, field)
  local entries = raw and cmsgpack.unpack(raw) or {item[3]}
  local is_changed = false
  local code
  local entry, position = find(entries, name, occurrence)
  if entry and item[11] and dropped(entries, entry, position, item[11]) then
    entry = nil
    is_changed = true
  end
  if not entry then
    if id then
      put(entries, name, occurrence, id, item[8], item[9] and FIRM or TENTATIVE)
      is_changed = true
      entry = entries[#entries]
      code = NEW
    end
  elseif entry[4] <= seconds and entry[3] ~= item[12] then
    code = STALE
  elseif id and item[7] and entry[3] ~= id then
    code = OTHER
    if item[10] then
      put(entries, name, occurrence, id, item[8], ASIDE)
      is_changed = true
    end
  else
    code = KEPT
    if id and item[9] and entry[6] == TENTATIVE then
      entry[6] = FIRM
      is_changed = true
    end
    if id and entry[6] == TENTATIVE and seconds - entry[5] > TOUCH_AFTER then
      entry[5] = seconds
      is_changed = true
    end
  end
  if is_changed then
    if #entries > 1 then
      redis.call('HSET', key, field, cmsgpack.pack(entries))
    else
      redis.call('HDEL', key, field)
    end
  end
  if entry then
    answers[number] = {code, entry[3], entry[4], entry[5], entry[6], seconds}
  else
    answers[number] = {0, '', 0, 0, 0, seconds}
  end
end
return cmsgpack.pack(answers)
