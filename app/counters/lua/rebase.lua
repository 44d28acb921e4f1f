-- Set how many are inside a target: seats seen so far are folded into the count, open holds stay on top of it.
--
-- KEYS   1 events | 2 meta | 3 counts | 4 reopened
-- ARGV   now (ms) | id | target | members (count) | question ('' when asking again shall count again)
-- REPLY  { known (0 when the counters are gone, and nothing was done), places taken now }
-- COST   6 commands.

if redis.call('HEXISTS', KEYS[2], 'seats') == 0 then return {0, 0} end
-- Asked again because an answer was lost, it was done already: who has come since must not be folded away.
local last = ARGV[3] .. ':question'
if ARGV[5] ~= '' and redis.call('HGET', KEYS[3], last) == ARGV[5] then
  return {1, tonumber(redis.call('HGET', KEYS[3], ARGV[3]))}
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], last, ARGV[5]) end
local taken = tonumber(ARGV[4]) + tonumber(redis.call('HGET', KEYS[3], ARGV[3] .. ':held') or 0)
redis.call('HSET', KEYS[3], ARGV[3], taken, ARGV[3] .. ':members', ARGV[4])
redis.call('ZADD', KEYS[4], redis.call('HINCRBY', KEYS[2], 'seq', 1), ARGV[3])
redis.call('XADD', KEYS[1], '*', 'now', ARGV[1], 'events',
  'b|' .. ARGV[2] .. '||' .. ARGV[4] .. '.' .. ARGV[3] .. '..0.0.|')
return {1, taken}
