-- Show one code's counters and what the record does not have yet, as they are at one moment.
--
-- KEYS   1 events | 2 epoch | 3 meta | 4 counts | 5 holds | 6 reopened | 7 due
-- ARGV   epoch and entry up to which the record has come | id
-- REPLY  { {state, seats, base, seq, floor: nil where there is none}, {entry of the stream ...}, {field of counts, value
--        ...}, {open hold, deadline ...}, deadline in due ('' when none), {re-opened targets, highest seq ('' when none)} }
-- COST   the stream beyond the entry, and one read of all counts and open holds of the code.

local after = redis.call('GET', KEYS[2]) == ARGV[1] and '(' .. ARGV[2] or '-'
local highest = redis.call('ZREVRANGE', KEYS[6], 0, 0, 'WITHSCORES')
return {
  redis.call('HMGET', KEYS[3], 'state', 'seats', 'base', 'seq', 'floor'),
  redis.call('XRANGE', KEYS[1], after, '+'),
  redis.call('HGETALL', KEYS[4]),
  redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES'),
  redis.call('ZSCORE', KEYS[7], ARGV[3]) or '',
  {redis.call('ZCARD', KEYS[6]), highest[2] or ''},
}
