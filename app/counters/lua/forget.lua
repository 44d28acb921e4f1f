-- Drop the entries of a stream that the record has.
--
-- KEYS   1 events | 2 epoch
-- ARGV   epoch | first entry to keep (ms-seq)
-- REPLY  entries dropped; 0 when this is another life of the stream than the one recorded
-- COST   2 commands.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
