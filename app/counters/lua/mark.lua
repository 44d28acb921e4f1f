-- Put a mark in the place of a code's state: every process reads the code anew before another place is given.
--
-- KEYS   1 meta
-- ARGV   mark
-- REPLY  1
-- COST   2 commands.

-- Removed first: a server without memory refuses to begin with an HSET, and a pause must be possible there.
redis.call('HDEL', KEYS[1], 'state')
redis.call('HSET', KEYS[1], 'state', ARGV[1])
return 1
