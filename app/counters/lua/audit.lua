-- Show one code's counters and what the record does not have yet, as they are at one moment.
--
-- KEYS   1 events | 2 epoch | 3 meta | 4 counts
-- ARGV   epoch and entry up to which the record has come | then targets
-- REPLY  { counted (0 when the counters are gone), {entry of the stream ...}, {taken, held of each target; '' unknown} }
-- COST   the stream beyond the entry, and one read of the counts.

local after = redis.call('GET', KEYS[2]) == ARGV[1] and '(' .. ARGV[2] or '-'
local places = {}
for i = 3, #ARGV do
  places[#places + 1] = redis.call('HGET', KEYS[4], ARGV[i]) or ''
  places[#places + 1] = redis.call('HGET', KEYS[4], ARGV[i] .. ':held') or ''
end
return {redis.call('HEXISTS', KEYS[3], 'seats'), redis.call('XRANGE', KEYS[1], after, '+'), places}
