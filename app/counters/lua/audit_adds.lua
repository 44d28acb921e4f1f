-- Show the adds of all accounts on some days and what the record does not have yet, as they are at one moment.
--
-- KEYS   1 events | 2 epoch | then 2 a day: adds | freed
-- ARGV   epoch and entry up to which the record has come
-- REPLY  { epoch ('' when nothing is counted), {entry of the stream ...}, then 2 a day: {account, adds ...} | highest
--        number in freed ('' when none) }
-- COST   the stream beyond the entry, and one read of the adds of each day.

local epoch = redis.call('GET', KEYS[2])
local after = epoch == ARGV[1] and '(' .. ARGV[2] or '-'
local reply = {epoch or '', redis.call('XRANGE', KEYS[1], after, '+')}
for i = 3, #KEYS, 2 do
  reply[#reply + 1] = redis.call('HGETALL', KEYS[i])
  reply[#reply + 1] = redis.call('ZREVRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')[2] or ''
end
return reply
