-- Resolves the ids of transactions: {{field, source, name, occurrence, id, is asked for, until, is firm, sends
-- conflicts, drop, keep}...}; `until` in seconds. Answers {{code, id, until, made, kind, now}...}.
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
  local field, name, occurrence, id, is_asked, till, is_firm = item[1], item[3], item[4], item[5], item[6], item[7], item[8]
  local sends_conflicts, drop, keep = item[9], item[10], item[11]
  local entries = index_get('t', field) or {item[2]}
  local is_changed = false
  local code
  local entry, position = find(entries, name, occurrence)
  if entry and drop and dropped(entries, entry, position, drop) then
    entry = nil
    is_changed = true
  end
  if not entry then
    if id then
      put(entries, name, occurrence, id, till, is_firm and FIRM or TENTATIVE)
      is_changed = true
      entry = entries[#entries]
      code = NEW
    end
  elseif entry[4] <= seconds and entry[3] ~= keep then
    code = STALE
  elseif id and is_asked and entry[3] ~= id then
    code = OTHER
    if sends_conflicts then
      put(entries, name, occurrence, id, till, ASIDE)
      is_changed = true
    end
  else
    code = KEPT
    if id and is_firm and entry[6] == TENTATIVE then
      entry[6] = FIRM
      is_changed = true
    end
    if id and entry[6] == TENTATIVE and seconds - entry[5] > TOUCH_AFTER then
      entry[5] = seconds
      is_changed = true
    end
  end
  if is_changed then
    index_set('t', field, #entries > 1 and entries or {})
  end
  if entry then
    answers[number] = {code, entry[3], entry[4], entry[5], entry[6], seconds}
  else
    answers[number] = {0, '', 0, 0, 0, seconds}
  end
end
write_shapes()
return cmsgpack.pack(answers)
