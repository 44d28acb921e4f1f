-- Note that the record is about to move, if this server has what was read.
--
-- KEYS   1 events | 2 epoch | 3 recorded
-- ARGV   epoch | entry from which the record moves | entry to which it moves
-- REPLY  1; 0 when the stream has no such entry, and nothing was noted. Another life of the stream knows nothing of it
--        and forbids nothing
-- COST   4 commands.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 1 end
if #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0 then return 0 end
-- Removed first: a server without memory refuses to begin with a SET, and only what follows this note frees memory.
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[3], ARGV[2] .. ' ' .. ARGV[3])
return 1
