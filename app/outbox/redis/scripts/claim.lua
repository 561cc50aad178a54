-- Leases ready deliveries: {dest, token, lease in microseconds, {{group, how many of the oldest, of the newest}...},
-- {paused name...}}. Answers now, then lists of numbers, instants, queues, claims and bodies. A part without a group is
-- of the only one there is: where there are several, it answers nothing but how many. A token that is still there
-- belongs to a claim that nobody ended: its attempt counts, and its end is unknown.
local dest, token, lease, parts = input[1], input[2], input[3], input[4]
allow_full()
local groups = groups_of(dest, input[5])
if parts[1][1] == '' then
  local only, number = nil, 0
  for group, queues in pairs(groups) do
    if #first_ready(dest, queues, 1, false) > 0 then
      only, number = group, number + 1
    end
  end
  if number ~= 1 then
    return {text(now), {}, {}, {}, {}, {}, number}
  end
  parts[1][1] = only
end
local seqs, scores, queues, seen = {}, {}, {}, {}
local function add(of, most, newest)
  local found, instants, names = first_ready(dest, of, most, newest)
  for position, seq in ipairs(found) do
    if not seen[seq] then
      seen[seq] = true
      local next = #seqs + 1
      seqs[next], scores[next], queues[next] = seq, instants[position], names[position]
    end
  end
end
for _, part in ipairs(parts) do
  local of = groups[part[1]]
  if of and part[2] > 0 then
    add(of, part[2], false)
  end
  if of and part[3] > 0 then
    add(of, part[3], true)
  end
end
local names = {}
for position, seq in ipairs(seqs) do
  names[position] = BODY .. seq
end
local known, found = fetch('HMGET', CLAIMS .. dest, seqs), fetch('MGET', nil, names)
local fresh, till = struct.pack(CLAIM, token, now, 0, 0, 0), text(now + lease)
local answer = {text(now), {}, {}, {}, {}, {}, 1}
local claims, leases = {}, {}
local first = math.huge
for position, seq in ipairs(seqs) do
  local queue, body, claim = queues[position], found[position], known[position]
  if body then
    if claim then
      local former, claimed, unsure, attempts, unknown = struct.unpack(CLAIM, claim)
      if former ~= 0 then
        attempts = math.min(attempts + 1, 65535)
        unsure = unsure ~= 0 and unsure or claimed
      end
      claim = struct.pack(CLAIM, token, now, unsure, attempts, unknown) .. string.sub(claim, CLAIM_SIZE + 1)
    else
      claim = fresh
    end
    claims[#claims + 1], claims[#claims + 2] = seq, claim
    first = math.min(first, tonumber(seq))
    local words = leases[queue]
    if not words then
      words = {}
      leases[queue] = words
    end
    words[#words + 1], words[#words + 2] = till, seq
    local next = #answer[2] + 1
    answer[2][next], answer[3][next], answer[4][next] = seq, scores[position], queue
    answer[5][next], answer[6][next] = claim, body
  else
    redis.call('ZREM', READY .. dest .. '\t' .. queue, seq)
    redis.call('HDEL', CLAIMS .. dest, seq)
  end
end
if #claims > 0 then
  lower_oldest(dest, first)
end
each('HSET', CLAIMS .. dest, claims)
for queue, words in pairs(leases) do
  each('ZADD', READY .. dest .. '\t' .. queue, words)
end
return answer
