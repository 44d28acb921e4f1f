-- Let some open holds of one code end now: the next to settle the code takes them back.
--
-- KEYS   1 holds | 2 due
-- ARGV   code | then seats
-- REPLY  holds that end
-- COST   2 commands a seat, 3 more.

local ended = 0
for i = 2, #ARGV do
  -- Only what is still open: its visitor may have seen the QR meanwhile. Removed first, since a server without memory
  -- refuses to begin with a ZADD.
  if redis.call('ZREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[1], 0, ARGV[i])
    ended = ended + 1
  end
end
-- What due says of the code is never more than what its holds say.
local soonest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('ZREM', KEYS[2], ARGV[1])
if soonest[2] then redis.call('ZADD', KEYS[2], soonest[2], ARGV[1]) end
return ended
