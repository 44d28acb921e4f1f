-- Tell which slugs may have been made; what the sieve holds back never was.
--
-- KEYS   1 head | 2 sieve
-- ARGV   2 a slug: start | step (where its bits are; both below 2^32)
-- REPLY  { sieve (1: there is one that may be believed), mark (another once a chosen slug was made, or the server has
--        begun another life), verdicts (a digit a slug: 0 it was never made, 1 it may have been) }
-- COST   2 commands, and up to 8 a slug.

local BITS = 8

local head = redis.call('HMGET', KEYS[1], 'life', 'size', 'made')
-- A server that was started again, or has taken another's place, may have lost the last slugs that were put in.
local told = redis.pcall('INFO', 'server')
local life = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or 'nameless'
local believed = head[1] == life and redis.call('EXISTS', KEYS[2]) == 1
local size, verdicts = tonumber(head[2]), {}
for i = 1, #ARGV, 2 do
  local start, step, passes = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), 1
  for bit = 0, believed and BITS - 1 or -1 do
    if redis.call('GETBIT', KEYS[2], (start + bit * step) % size) == 0 then
      passes = 0
      break
    end
  end
  verdicts[#verdicts + 1] = passes
end
return {believed and 1 or 0, life .. ':' .. (head[3] or '0'), table.concat(verdicts)}
