-- Read entries of a stream after a position, and whether the stream knows that position, as of one moment.
--
-- KEYS   1 events | 2 epoch | 3 recorded
-- ARGV   epoch and entry up to which the record has come | entries (count)
-- REPLY  { epoch ('' when there is none), known (1: the entry is there, was recorded, or is the beginning), {entry ...} };
--        another life of the stream is read from its beginning, and known
-- COST   4 commands. A transaction would do, but a server without memory refuses every one, even if it only reads.

local epoch, start = redis.call('GET', KEYS[2]), '0-0'
if not epoch then return {'', 1, {}} end
local after = epoch == ARGV[1] and ARGV[2] or start
local known = after == start or #redis.call('XRANGE', KEYS[1], after, after) == 1
if not known then
  for entry in string.gmatch(redis.call('GET', KEYS[3]) or '', '%S+') do known = known or entry == after end
end
return {epoch, known and 1 or 0, redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[3])}
