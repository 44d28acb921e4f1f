-- Make one version of a code the one that claims are judged by; when its counters are gone, lay back what rested, or
-- rebuild them.
--
-- KEYS   1 meta | 2 counts | 3 holds | 4 seen | 5 reopened | 6 due | 7 epoch | 8 events | 9 adds of today
--        | 10 adds of yesterday | 11 … adds of each further day that counts
-- ARGV   id | expected state ('' when there was none) | expected epoch ('' when there was none) | version | now (ms)
--        | days whose adds count (as `claim.lua` has them) | seats (count) | epoch | accounts (1: tell what they have
--        been added) | targets (count) | rows of adds (count)
--        | base | seq | counts (JSON list: field, value ...) | seen (bitmap): what rested; '' when nothing did
--        then 3 a target: target | places taken at the least, used where the counters know nothing of it | places
--        of these only held, used when the counters are gone
--        then 3 a row of adds, used when all counters of the workspace are gone: 9 … (the key) | account | adds
-- REPLY  { published (0 when state or epoch were not the expected ones), seq, {target, taken ...}, mark (day:adds given
--        back), {account, adds ...} (an account may be there once for each day) }
-- COST   1 command a target with places taken; the counts of the whole code are read once, and the adds of the day.

local state = redis.call('HMGET', KEYS[1], 'state', 'seats')
local epoch = redis.call('GET', KEYS[7]) or ''
if (state[1] or '') ~= ARGV[2] or epoch ~= ARGV[3] then return {0, 0, {}, '', {}} end

local lost = not state[2]
if lost then
  -- Seats known so far are below the base: their tokens count only when proven.
  local base, seq = ARGV[7], ARGV[5]
  if ARGV[14] ~= '' then base, seq = ARGV[12], ARGV[13] end
  -- Written first, so that a server without memory refuses all of it: counters need room. Which targets re-opened last is
  -- not known any more: who has not heard of them all reads the counts.
  redis.call('HSET', KEYS[1], 'seats', ARGV[7], 'base', base, 'seq', seq, 'floor', seq)
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  redis.call('ZREM', KEYS[6], ARGV[1])
  redis.call('HDEL', KEYS[1], 'dropped')
  if ARGV[14] ~= '' then
    local counts = cjson.decode(ARGV[14])
    for i = 1, #counts, 1000 do redis.call('HSET', KEYS[2], unpack(counts, i, math.min(i + 999, #counts))) end
    if ARGV[15] ~= '' then redis.call('SET', KEYS[4], ARGV[15]) end
  end
end
-- Where counters are there, a version needs no room: removed first, since a server without memory refuses to begin with
-- an HSET, and a pause must count there, too.
if not lost then redis.call('HDEL', KEYS[1], 'state') end
local kept, at, targets, rows = {}, 15, tonumber(ARGV[10]), tonumber(ARGV[11])
for i = at + 1, at + 3 * targets, 3 do
  local target, taken, held = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  redis.call('HSETNX', KEYS[2], target, taken)
  -- What was held when the counters went is taken for good: the safe side, and the record must hear of it.
  if lost and held ~= '0' then kept[#kept + 1] = 'k|' .. ARGV[1] .. '||' .. held .. '.' .. target .. '..0.0.|' end
end
redis.call('HSET', KEYS[1], 'state', ARGV[4])
-- The first thing ever counted for this workspace, in this life of Redis, begins a stream: its record starts at zero.
if epoch == '' then
  redis.call('SET', KEYS[7], ARGV[8])
  for i = at + 3 * targets + 1, at + 3 * (targets + rows), 3 do
    redis.call('HSET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
    redis.call('PEXPIRE', KEYS[tonumber(ARGV[i])], 259200000)
  end
end
if #kept > 0 then redis.call('XADD', KEYS[8], '*', 'now', ARGV[5], 'events', table.concat(kept, '\n')) end

local counts, taken = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #counts, 2 do
  if not string.find(counts[i], ':', 1, true) then
    taken[#taken + 1] = counts[i]
    taken[#taken + 1] = counts[i + 1]
  end
end
local mark, adds = '', {}
if ARGV[9] == '1' then
  mark = ARGV[6] .. ':' .. (redis.call('HGET', KEYS[9], ':freed') or '0')
  adds = redis.call('HGETALL', KEYS[9])
  for i = 11, #KEYS do
    local further = redis.call('HGETALL', KEYS[i])
    for j = 1, #further do adds[#adds + 1] = further[j] end
  end
end
return {1, tonumber(redis.call('HGET', KEYS[1], 'seq')), taken, mark, adds}
