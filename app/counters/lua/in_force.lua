-- Tell which version of a code is in force.
--
-- KEYS   1 meta | 2 epoch | 3 eras
-- ARGV   none
-- REPLY  { state ('' when there is none), counted (1: there are counters), epoch ('' when there is none), dropped (1:
--        the counters were thrown away), eras (numbers, blanks between) }
-- COST   3 commands. A transaction would do, but a server without memory refuses every one, even if it only reads.

local meta = redis.call('HMGET', KEYS[1], 'state', 'seats', 'dropped')
return {meta[1] or '', meta[2] and 1 or 0, redis.call('GET', KEYS[2]) or '', meta[3] and 1 or 0, redis.call('GET', KEYS[3]) or ''}
