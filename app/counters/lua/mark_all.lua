-- Mark those of some codes of one workspace that have counters: every process reads them anew before another place is
-- given.
--
-- KEYS   1 … the meta of each code
-- ARGV   mark (the same for all)
-- REPLY  codes that were marked (count)
-- COST   3 commands a code. A code that rests has no counters: its next scan reads the record anyhow, and needs no mark.

local marked = 0
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    -- Removed first, as in `mark.lua`.
    redis.call('HDEL', KEYS[i], 'state')
    redis.call('HSET', KEYS[i], 'state', ARGV[1])
    marked = marked + 1
  end
end
return marked
