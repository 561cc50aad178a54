-- Counts what waits: {dest...}. Answers ready, all, oldest accepted or empty, of each in turn.
local answer = {}
for _, dest in ipairs(input) do
  local ready = P .. ':r:' .. dest
  local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2]
  -- What was never claimed is ready since it was accepted; the others are in a set by that instant.
  local tried = redis.call('ZRANGE', P .. ':o:' .. dest, 0, 0, 'WITHSCORES')[2]
  local oldest = ''
  if first then
    oldest = text(math.min(tonumber(first), tonumber(tried or first)))
  end
  table.insert(answer, redis.call('ZCOUNT', ready, '-inf', text(now)))
  table.insert(answer, redis.call('ZCARD', ready))
  table.insert(answer, oldest)
end
return answer
