-- Set aside the next entry of a stream, which cannot be recorded, so that those behind it can.
--
-- KEYS   1 events | 2 epoch | 3 unreadable
-- ARGV   epoch and entry up to which the record has come
-- REPLY  the entry (ms-seq); '' when there is none
-- COST   4 commands.

local epoch = redis.call('GET', KEYS[2])
if not epoch then return '' end
local found = redis.call('XRANGE', KEYS[1], epoch == ARGV[1] and '(' .. ARGV[2] or '-', '+', 'COUNT', 1)[1]
if not found then return '' end
redis.call('XADD', KEYS[3], found[1], unpack(found[2]))
redis.call('XDEL', KEYS[1], found[1])
return found[1]
