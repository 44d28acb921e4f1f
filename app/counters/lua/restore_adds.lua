-- Set the adds of accounts to what they should be; the record is to hear of those that it does not know.
--
-- KEYS   1 events | 2 freed of today | 3 adds of today | then adds of other days
-- ARGV   now (ms)
--        then 6 a row: 3 or more (the key) | account | day (days since 1970) | adds as they were | adds from now on
--        | adds that the record does not know
-- REPLY  rows left as they are, since the adds are not what they were
-- COST   1 command a row, 2 more where it changes.

local FREED, ADDS = 1000, 259200000
local left, events = 0, {}
for i = 2, #ARGV, 6 do
  local account, day = ARGV[i + 1], ARGV[i + 2]
  local was, wanted, unknown = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  if tonumber(redis.call('HGET', KEYS[tonumber(ARGV[i])], account) or 0) ~= was then
    left = left + 1
  else
    redis.call('HSET', KEYS[tonumber(ARGV[i])], account, wanted)
    redis.call('PEXPIRE', KEYS[tonumber(ARGV[i])], ADDS)
    if wanted < was and ARGV[i] == '3' then
      redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[3], ':freed', 1), account)
      redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -FREED - 1)
      redis.call('PEXPIRE', KEYS[2], ADDS)
    end
    if unknown > 0 then events[#events + 1] = 'k|||' .. unknown .. '..' .. account .. '.' .. day .. '.0.|' end
  end
end
if #events > 0 then redis.call('XADD', KEYS[1], '*', 'now', ARGV[1], 'events', table.concat(events, '\n')) end
return left
