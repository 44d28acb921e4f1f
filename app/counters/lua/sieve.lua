-- Put slugs into the sieve, or make another one beside it and then put that in its place.
--
-- KEYS   1 head | 2 sieve | 3 draft (the sieve that is being made)
-- ARGV   verb | token (names a draft; '' by who makes a slug) | number
--        begin  number = size (bits): begin a draft, unless one is being made; kept a minute without news
--        put    number = slugs to put, then 2 each: start | step (where its bits are; both below 2^32)
--        place  number = slugs in the draft: put it in the place of the sieve
-- REPLY  1; 0 when somebody else is making one, or the draft of this token is gone
-- COST   5 commands, and 8 a slug, twice that while a sieve is being made.

local BITS, KEPT = 8, 60000
local verb, token, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local told = redis.pcall('INFO', 'server')
local life = type(told) == 'string' and string.match(told, 'run_id:(%w+)') or 'nameless'
local head = redis.call('HMGET', KEYS[1], 'size', 'draft', 'draft_size', 'draft_life')
-- A draft from before the server was started again may have lost some of what was put in.
local drafting = head[2] and head[4] == life and redis.call('EXISTS', KEYS[3]) == 1

local function put(sieve, size)
  local new = 0
  for i = 4, 2 * number + 3, 2 do
    local start, step, set = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), 1
    for bit = 0, BITS - 1 do
      if redis.call('SETBIT', sieve, (start + bit * step) % size, 1) == 0 then set = 0 end
    end
    if set == 0 then new = new + 1 end
  end
  return new
end

if verb == 'begin' then
  if drafting then return 0 end
  -- Written first, so that a server without memory refuses all of it: a draft may be large.
  redis.call('HSET', KEYS[1], 'draft', token, 'draft_size', number, 'draft_life', life)
  redis.call('DEL', KEYS[3])
  redis.call('SETBIT', KEYS[3], number - 1, 0)
  redis.call('PEXPIRE', KEYS[3], KEPT)
  return 1
end
if token ~= '' and (not drafting or head[2] ~= token) then return 0 end
if verb == 'place' then
  redis.call('RENAME', KEYS[3], KEYS[2])
  redis.call('PERSIST', KEYS[2])
  redis.call('HSET', KEYS[1], 'life', life, 'size', head[3], 'slugs', number)
  redis.call('HDEL', KEYS[1], 'draft', 'draft_size', 'draft_life')
  return 1
end
if drafting then put(KEYS[3], tonumber(head[3])) end
if token ~= '' then
  redis.call('PEXPIRE', KEYS[3], KEPT)
elseif head[1] and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'slugs', put(KEYS[2], tonumber(head[1])))
end
return 1
