-- Pack what the counters hold of one code, for the record to keep while it rests; nothing is forgotten yet.
--
-- KEYS   1 meta | 2 counts | 3 holds | 4 epoch
-- ARGV   token (names this attempt, and undoes every one before it)
-- REPLY  { epoch, state, seats, base, seq, counts (JSON list: field, value ...) }; {} when a hold is open or nothing
--        is counted: then a mark that an edit has left goes
-- COST   6 commands; the counts of the whole code are read once.

local meta = redis.call('HMGET', KEYS[1], 'state', 'seats', 'base', 'seq', 'dropped')
if not meta[2] then
  -- That the record alone counts must not be forgotten, or an old rest would be believed.
  if not meta[5] then redis.call('DEL', KEYS[1]) end
  return {}
end
if redis.call('EXISTS', KEYS[3]) == 1 then return {} end
-- Removed first: a server without memory refuses to begin with an HSET, and a code that rests frees memory.
redis.call('HDEL', KEYS[1], 'rest')
redis.call('HSET', KEYS[1], 'rest', ARGV[1])
local counts = cjson.encode(redis.call('HGETALL', KEYS[2]))
return {redis.call('GET', KEYS[4]) or '', meta[1], meta[2], meta[3], meta[4], counts}
