-- Replace the counters of one code by what the record says, or keep what they hold beyond it; all of it or nothing.
--
-- KEYS   1 meta | 2 counts | 3 holds | 4 seen | 5 reopened | 6 due | 7 events
-- ARGV   id | state (a mark, under which nothing is given) | seats and seq as they were before the record was completed
--        | now (ms) | seats (below which no seat may be given) | keep (1: what is counted beyond the record stays)
--        then 3 a target of the record: target | places taken | places of these only held
-- REPLY  { rebuilt (0: something has happened since, and nothing was changed), {target, places kept ...} }
-- COST   the counts of the whole code are read and written once; 1 XADD.

local head = redis.call('HMGET', KEYS[1], 'state', 'seats', 'seq')
if head[1] ~= ARGV[2] or head[2] ~= ARGV[3] or head[3] ~= ARGV[4] then return {0, {}} end

local id, now, keep = ARGV[1], ARGV[5], ARGV[7] == '1'
local flat, old = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #flat, 2 do old[flat[i]] = flat[i + 1] end
local counts, events, reported, kept = {}, {}, {}, {}

local function put(field, value)
  counts[#counts + 1] = field
  counts[#counts + 1] = value
end

-- What was held is taken for good, the safe side: the record must hear of it.
local function stay(target, held)
  if held > 0 then events[#events + 1] = 'k|' .. id .. '||' .. held .. '.' .. target .. '..0.0.|' end
end

for i = 8, #ARGV, 3 do
  local target, taken, held = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local have = tonumber(old[target] or 0)
  stay(target, held)
  if keep and have > taken then
    -- As a head count, since the record knows nothing of who they are.
    reported[#reported + 1] = 'b|' .. id .. '||' .. have .. '.' .. target .. '..0.0.|'
    kept[#kept + 1] = target
    kept[#kept + 1] = have
    put(target, have)
    put(target .. ':members', have)
  elseif taken > 0 then
    put(target, taken)
  end
  old[target] = nil
end
for field, taken in pairs(old) do
  -- The record lacks these targets; should they come back, their places were given.
  if keep and not string.find(field, ':', 1, true) then
    put(field, taken)
    stay(field, tonumber(old[field .. ':held'] or 0))
  end
end

redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('ZREM', KEYS[6], id)
for i = 1, #counts, 1000 do redis.call('HSET', KEYS[2], unpack(counts, i, math.min(i + 999, #counts))) end
-- Every seat given so far is below the base: its token counts only when proven. Who has not heard of this seq reads the
-- counts anew.
local seats = string.format('%.0f', math.max(tonumber(ARGV[6]), tonumber(head[2])))
local seq = string.format('%.0f', math.max(tonumber(now), tonumber(head[3]) + 1))
redis.call('HSET', KEYS[1], 'seats', seats, 'base', seats, 'seq', seq, 'floor', seq)
redis.call('HDEL', KEYS[1], 'dropped', 'rest')
for i = 1, #reported do events[#events + 1] = reported[i] end
if #events > 0 then redis.call('XADD', KEYS[7], '*', 'now', now, 'events', table.concat(events, '\n')) end
return {1, kept}
