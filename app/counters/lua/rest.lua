-- Let one code rest: forget its counters, if they are still what was packed.
--
-- KEYS   1 meta | 2 counts | 3 holds | 4 seen | 5 reopened
-- ARGV   token, state, seats and seq as they were packed
-- REPLY  1; 0 when something has happened since, and nothing was forgotten
-- COST   2 commands.

local meta = redis.call('HMGET', KEYS[1], 'rest', 'state', 'seats', 'seq')
-- No place is given without a new seat, no head count reported and no hold given back without a new seq.
for i = 1, 4 do
  if meta[i] ~= ARGV[i] then return 0 end
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return 1
