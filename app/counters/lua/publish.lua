-- Make one version of a code the one that claims are judged by; rebuild its counters when they are gone.
--
-- KEYS   1 meta | 2 counts | 3 holds | 4 seen | 5 reopened | 6 due | 7 epoch | 8 events
-- ARGV   id | expected state ('' when there was none) | version | now (ms) | seats (count) | epoch | targets (count)
--        then 3 a target: target | places taken at the least, used where the counters know nothing of it | places
--        of these only held, used when the counters are gone
-- REPLY  { published (0 when the state was not the expected one), seq, {target, taken ...} }
-- COST   1 command a target with places taken; the counts of the whole code are read once.

local state = redis.call('HMGET', KEYS[1], 'state', 'seats')
if (state[1] or '') ~= ARGV[2] then return {0, 0, {}} end

local lost = not state[2]
if lost then
  -- Seats known so far are below the base: their tokens count only when proven.
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  redis.call('ZREM', KEYS[6], ARGV[1])
  redis.call('HSET', KEYS[1], 'seats', ARGV[5], 'base', ARGV[5], 'seq', ARGV[4], 'floor', ARGV[4])
end
local kept = {}
for i = 8, 7 + 3 * tonumber(ARGV[7]), 3 do
  local target, taken, held = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  redis.call('HSETNX', KEYS[2], target, taken)
  -- What was held when the counters went is taken for good: the safe side, and the record must hear of it.
  if lost and held ~= '0' then kept[#kept + 1] = 'k|' .. ARGV[1] .. '||' .. held .. '.' .. target .. '..0.0.' end
end
redis.call('HSET', KEYS[1], 'state', ARGV[3])
-- The first thing ever counted for this workspace, in this life of Redis, begins a stream: its record starts at zero.
redis.call('SET', KEYS[7], ARGV[6], 'NX')
if #kept > 0 then redis.call('XADD', KEYS[8], '*', 'now', ARGV[4], 'events', table.concat(kept, '\n')) end

local counts, taken = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #counts, 2 do
  if not string.find(counts[i], ':', 1, true) then
    taken[#taken + 1] = counts[i]
    taken[#taken + 1] = counts[i + 1]
  end
end
return {1, tonumber(redis.call('HGET', KEYS[1], 'seq')), taken}
