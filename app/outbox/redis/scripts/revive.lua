-- Replays or purges dead letters: {is replay, {{seq, dest}...}}. Answers how many.
local is_replay = input[1]
local done = 0
allow_full()
for _, item in ipairs(input[2]) do
  local seq, dest = text(item[1]), item[2]
  local rec = record(seq)
  local d = delivery_of(rec, dest)
  if d and d[STATE] == DEAD then
    done = done + 1
    changed[seq] = true
    redis.call('ZREM', P .. ':x:' .. dest, seq)
    if is_replay then
      d[STATE] = PENDING
      d[ATTEMPTS] = 0
      d[UNKNOWN] = 0
      d[REASON] = false
      d[DETAIL] = false
      d[SETTLED] = 0
      redis.call('ZADD', P .. ':r:' .. dest, text(now), seq)
      redis.call('ZADD', P .. ':o:' .. dest, text(rec[ACCEPTED]), seq)
      count(dest, DEAD, rec[TERMS][d[TERM]], -1)
      count(dest, PENDING, rec[TERMS][d[TERM]], 1)
    else
      d[STATE] = PURGED
    end
  end
end
write()
return done
