-- Settle all that arrived together for one workspace: claims, returns, sightings and notes, each with its event.
--
-- KEYS   1 events | 2 adds of today | 3 adds of yesterday | 4 due | 5 freed (accounts given an add back today)
--        | 6 shares (adds of this hour by network and account)
--        then 6 a code: meta | counts | holds | seen | reopened | news (new seats of this minute)
--        then 1 a further day: adds of it
-- ARGV   now (ms) | days whose adds count, a `+` between: today (days since 1970, and 100,000 for each era of the
--        workspace), further days | codes (count)
--        then four lines a code, their fields between `|`:
--          the code: id | version | seq | hold (ms; 0: a place is kept at once, and its token proves it)
--            | rate (new seats of one network in a minute; 0: no bound) | turned (event kind when nobody has room)
--          the offer: mark (up to which it has heard of adds given back; '' where no account is involved)
--            | strategy (fill, balance, random) | complete (1: no live target was left out)
--            | shares (adds of each candidate's account that one network may take in an hour, blanks between; 0: no
--            bound; '' when all are) | passed (1: candidates with room were left out, since the network has had its
--            share of them) | why (detail of turned)
--          candidates, a line each: target | ceiling (places) | weight | account ('' for none) | cap (adds a day)
--            | handicap (places)
--          asks, a line each: verb | text | client | extra | detail
--            c  text = channel.visitor, extra = chance in [0,1), network at the code, network at accounts (either may
--               be ''; blanks between)                              take a place
--            r  text = seat, extra = 1 when proven                 come back to a place
--            s  text = seat, extra = 1 when proven                 see the QR: the place is kept
--            n  text = seat, extra = event kind                    take nothing, only be counted
-- REPLY  a code: { lost, seq, resync, {reopened target ...}, {index of full candidate ...},
--          {index of capped candidate ...}, mark, too many (1: more accounts than are remembered were given an add
--          back since the mark), {account given an add back ...}, verdicts (a hexadecimal digit an ask), {seat of each claimed ...} }
--        verdict: 0 stale 1 claimed 2 returned 3 full 4 gone 5 seen 6 noted 7 more 8 limited 9 refused a passed; more: no
--        candidate has room, but there is more to hear or to offer, and nothing was recorded; refused: the server has
--        no memory left for a place, and nothing was recorded; passed: the network has had its share of all that have
--        room, there is more to offer, and nothing was recorded; indexes count from 0; a mark is day:adds given back
--        Without memory, returns and notes are answered and not recorded; holds end and are seen as ever
--        A code with no asks is swept: its entry in due becomes what its holds say, or goes
-- COST   1 command a call and 4 a code, 2 more when a hold begins or ends, 1 a target that changed, 2 where networks are
--        bounded, 1 an ask where they have shares of accounts, and 2 when one was taken; 1 XADD a call. Targets of the
--        code beyond the candidates cost nothing.

local STALE, CLAIMED, RETURNED, FULL, GONE, SEEN, NOTED, MORE, LIMITED, REFUSED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
local PASSED = 'a'
local CODE = '([^|]*)|([^|]*)|(%d+)|(%d+)|(%d+)|(.*)'
local OFFER = '([^|]*)|(%l+)|(%d)|([^|]*)|(%d)|(.*)'
local CANDIDATE = '([^|\n]*)|(%d+)|(%d+)|([^|\n]*)|(%d+)|(%-?%d+)'
local ASK = '(%l)|([^|\n]*)|([^|\n]*)|([^|\n]*)|([^|\n]*)'
local RELEASES, REOPENED, FREED, ADDS, NEWS, SHARES = 100, 1000, 1000, 259200000, 120000, 7200000

local now, span, codes = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local days, counts_now = {}, {}
for day in string.gmatch(span, '%d+') do
  days[#days + 1] = day
  counts_now[day] = true
end
local today = days[1]
local yesterday = tostring(tonumber(today) - 1)
local adds_key = {[today] = KEYS[2], [yesterday] = KEYS[3]}
local adds, adds_delta, freed = {}, {[today] = {}, [yesterday] = {}}, 0
for i = 2, #days do
  adds_key[days[i]] = KEYS[#KEYS - #days + i]
  adds_delta[days[i]] = {}
end
local shared, shared_delta = {}, {}
local events, reply = {}, {}
local at = 3

-- At `maxmemory` a script may not begin with a command that can need memory, but what follows its first write is let
-- through. So this is asked before anything is written, by a command that changes nothing: no new place is begun then,
-- and whatever ends a hold begins with a ZREM.
local asked = redis.pcall('ZADD', KEYS[4], 'XX', 0, '')
local no_memory = type(asked) == 'table' and string.find(asked.err, 'OOM ', 1, true)

local function record(kind, code, client, seat, detail)
  events[#events + 1] = kind .. '|' .. code .. '|' .. client .. '|' .. seat .. '|' .. detail
end

local function bump(map, field, by)
  map[field] = (map[field] or 0) + by
end

local function adds_today(account)
  if not adds[account] then
    local sum = 0
    for i = 1, #days do
      local day = days[i]
      sum = sum + tonumber(redis.call('HGET', adds_key[day], account) or 0) + (adds_delta[day][account] or 0)
    end
    adds[account] = sum
  end
  return adds[account]
end

local freed_before
local function freed_now()
  freed_before = freed_before or tonumber(redis.call('HGET', KEYS[2], ':freed') or 0)
  return freed_before + freed
end

local function add(account, day, by)
  -- A day older than yesterday can no longer bind anybody, so nothing is given back to it.
  if account == '' or not adds_delta[day] then return end
  if counts_now[day] then
    adds[account] = adds_today(account) + by
    if by < 0 then
      freed = freed + 1
      redis.call('ZADD', KEYS[5], freed_now(), account)
    end
  end
  bump(adds_delta[day], account, by)
end

local function given_back(mark)
  local day, heard = string.match(mark, '^([%d+]+):(%-?%d+)$')
  local missed = freed_now() - tonumber(heard)
  if day ~= span or missed < 0 or missed > FREED then return 1, {} end
  if missed == 0 then return 0, {} end
  return 0, redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. heard, '+inf')
end

local function under_cap(one)
  return one.account == '' or adds_today(one.account) < one.cap
end

-- What the network of an ask has taken of each account in this hour, with what it took in this call.
local function shared_by(network, candidates)
  local took = shared[network] or {}
  shared[network] = took
  local accounts, fields = {}, {}
  for i = 1, #candidates do
    local account = candidates[i].account
    if candidates[i].share > 0 and not took[account] then
      took[account] = 0
      accounts[#accounts + 1] = account
      fields[#fields + 1] = network .. '.' .. account
    end
  end
  if #fields > 0 then
    local values = redis.call('HMGET', KEYS[6], unpack(fields))
    for i = 1, #fields do took[accounts[i]] = tonumber(values[i] or 0) end
  end
  return took
end

-- Set for the ask under way; nil where its network is not bounded.
local took

local function has_room(one)
  return one.taken < one.ceiling and under_cap(one) and not (took and one.share > 0 and took[one.account] >= one.share)
end

local function first(candidates)
  for i = 1, #candidates do
    if has_room(candidates[i]) then return i end
  end
end

local function emptiest(candidates)
  local best
  for i = 1, #candidates do
    local one = candidates[i]
    if has_room(one) then
      local other = candidates[best]
      local lighter = not best
        or (one.taken + one.handicap) * other.weight < (other.taken + other.handicap) * one.weight
      if lighter then best = i end
    end
  end
  return best
end

local function drawn(candidates, chance)
  local open, sum = {}, 0
  for i = 1, #candidates do
    if has_room(candidates[i]) then
      open[#open + 1] = i
      sum = sum + candidates[i].weight
    end
  end
  local point = chance * sum
  for j = 1, #open do
    point = point - candidates[open[j]].weight
    if point < 0 then return open[j] end
  end
  return open[#open]
end

for c = 1, codes do
  local key = 6 + (c - 1) * 6
  local meta, counts, holds, seen, reopened = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], KEYS[key + 4], KEYS[key + 5]
  local news_key = KEYS[key + 6]
  local code, version, known, hold, rate, turned = string.match(ARGV[at + 1], CODE)
  local mark, strategy, complete, shares, passed, why = string.match(ARGV[at + 2], OFFER)
  local offers, asks = ARGV[at + 3], ARGV[at + 4]
  at = at + 4
  known, hold, rate, complete = tonumber(known), tonumber(hold), tonumber(rate), complete == '1'
  -- Spelt once: Redis spells a number anew for every seat.
  local deadline = tostring(now + hold)

  local state = redis.call('HMGET', meta, 'state', 'seats', 'seq', 'floor', 'base')
  local seats, seq, floor, base = tonumber(state[2]), tonumber(state[3]), tonumber(state[4]), tonumber(state[5])
  local fresh = seats and state[1] == version
  local taken, held, open_again, held_now = {}, {}, {}, {}
  local holds_changed, next_seat = false, seats

  if seats then
    local late = redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, RELEASES)
    -- Before anything else is written: a server without memory refuses to begin with what follows.
    if #late > 0 then redis.call('ZREM', holds, unpack(late)) end
    for i = 1, #late do
      local target, account, day = string.match(late[i], '^%d+%.([^.]*)%.([^.]*)%.([^.]*)%.')
      -- What is no seat took no place.
      if target then
        bump(taken, target, -1)
        bump(held, target, -1)
        open_again[target] = true
        add(account, day, -1)
        record('x', code, '', late[i], '')
      end
    end
    for target in pairs(open_again) do
      seq = seq + 1
      redis.call('ZADD', reopened, seq, target)
    end
    if #late > 0 then
      redis.call('HSET', meta, 'seq', seq)
      holds_changed = true
    end
  end

  local candidates, fields = {}, {}
  for target, ceiling, weight, account, cap, handicap in string.gmatch(offers, CANDIDATE) do
    fields[#fields + 1] = target
    candidates[#fields] = {
      target = target, ceiling = tonumber(ceiling), weight = tonumber(weight),
      account = account, cap = tonumber(cap), handicap = tonumber(handicap),
    }
  end
  if shares ~= '' then
    local i = 0
    for share in string.gmatch(shares, '%d+') do
      i = i + 1
      candidates[i].share = tonumber(share)
    end
  end
  if fresh and #fields > 0 then
    local values = redis.call('HMGET', counts, unpack(fields))
    for i = 1, #fields do
      candidates[i].taken = tonumber(values[i] or 0) + (taken[fields[i]] or 0)
    end
  end

  local verdicts, given = {}, {}
  local function settle(verdict)
    verdicts[#verdicts + 1] = verdict
  end

  local news, news_delta = {}, {}
  local function too_many(network)
    if rate == 0 or network == '' then return false end
    news[network] = news[network] or tonumber(redis.call('HGET', news_key, network) or 0)
    return news[network] >= rate
  end

  local function limited(text, client)
    record('l', code, client, '0...0.' .. text, '')
    settle(LIMITED)
  end

  local function behind()
    return known ~= seq or (mark ~= '' and mark ~= span .. ':' .. freed_now())
  end

  local function nobody(text, client)
    if not complete or behind() then return settle(MORE) end
    if passed == '1' then return limited(text, client) end
    for i = 1, #candidates do
      if candidates[i].taken < candidates[i].ceiling and not under_cap(candidates[i]) then why = 'capped' end
    end
    record(turned, code, client, '0...0.' .. text, why)
    settle(FULL)
  end

  local function pass_over(text, client)
    if behind() then return settle(MORE) end
    if not complete then return settle(PASSED) end
    limited(text, client)
  end

  local function pick(chance)
    if strategy == 'fill' then return first(candidates) end
    if strategy == 'balance' then return emptiest(candidates) end
    return drawn(candidates, tonumber(chance))
  end

  local function claim(text, client, extra, detail)
    if no_memory then return settle(REFUSED) end
    local chance, network, sharer = string.match(extra, '^(%S+) (%S*) (%S*)$')
    took = shares ~= '' and sharer ~= '' and shared_by(sharer, candidates) or nil
    local i = pick(chance)
    local none_left = took and not i
    if none_left then
      took = nil
      i = pick(chance)
    end
    if not i then return nobody(text, client) end
    if too_many(network) then return limited(text, client) end
    if none_left then return pass_over(text, client) end
    local one = candidates[i]
    if rate > 0 and network ~= '' then
      news[network] = news[network] + 1
      bump(news_delta, network, 1)
    end
    if took and one.share > 0 then
      took[one.account] = took[one.account] + 1
      bump(shared_delta, sharer .. '.' .. one.account, 1)
    end
    next_seat = next_seat + 1
    local seat = next_seat .. '.' .. one.target .. '.' .. one.account .. '.' .. today .. '.' .. text
    one.taken = one.taken + 1
    bump(taken, one.target, 1)
    add(one.account, today, 1)
    if hold > 0 then
      bump(held, one.target, 1)
      held_now[#held_now + 1] = deadline
      held_now[#held_now + 1] = seat
    end
    record(hold > 0 and 'c' or 't', code, client, seat, detail)
    given[#given + 1] = seat
    settle(CLAIMED)
  end

  local function was_seen(seat)
    local bit = tonumber(string.match(seat, '^%d+')) - base - 1
    return bit >= 0 and redis.call('GETBIT', seen, bit) == 1
  end

  local function come_back(seat, client, proven)
    if proven == '1' or was_seen(seat) or redis.call('ZSCORE', holds, seat) then
      if not no_memory then record('r', code, client, seat, '') end
      return settle(RETURNED)
    end
    settle(GONE)
  end

  local function see(seat, client, proven)
    if redis.call('ZREM', holds, seat) == 1 then
      local number, target = string.match(seat, '^(%d+)%.([^.]*)')
      redis.call('SETBIT', seen, tonumber(number) - base - 1, 1)
      bump(held, target, -1)
      holds_changed = true
      record('s', code, client, seat, '')
      return settle(SEEN)
    end
    settle((proven == '1' or was_seen(seat)) and RETURNED or GONE)
  end

  for verb, text, client, extra, detail in string.gmatch(asks, ASK) do
    if not fresh then settle(STALE)
    elseif verb == 'n' then
      if not no_memory then record(extra, code, client, text, detail) end
      settle(NOTED)
    elseif verb == 'c' then claim(text, client, extra, detail)
    elseif verb == 'r' then come_back(text, client, extra)
    else see(text, client, extra) end
  end

  for target, by in pairs(taken) do
    if by ~= 0 then redis.call('HINCRBY', counts, target, by) end
  end
  for target, by in pairs(held) do
    if by ~= 0 then redis.call('HINCRBY', counts, target .. ':held', by) end
  end
  if next_seat ~= seats then redis.call('HSET', meta, 'seats', next_seat) end
  if #held_now > 0 then
    redis.call('ZADD', holds, unpack(held_now))
    holds_changed = true
  end
  if next(news_delta) then
    for network, by in pairs(news_delta) do redis.call('HINCRBY', news_key, network, by) end
    redis.call('PEXPIRE', news_key, NEWS)
  end
  if holds_changed or asks == '' then
    -- Counters that are gone have no holds: these were taken for places when the counters came back.
    local soonest = seats and redis.call('ZRANGE', holds, 0, 0, 'WITHSCORES') or {}
    if soonest[2] then redis.call('ZADD', KEYS[4], soonest[2], code) else redis.call('ZREM', KEYS[4], code) end
  end
  if next(open_again) then
    local surplus = redis.call('ZCARD', reopened) - REOPENED
    if surplus > 0 then
      local gone = redis.call('ZPOPMIN', reopened, surplus)
      floor = tonumber(gone[#gone])
      redis.call('HSET', meta, 'floor', floor)
    end
  end

  local full, capped, again, resync = {}, {}, {}, 0
  if fresh then
    for i = 1, #candidates do
      if candidates[i].taken >= candidates[i].ceiling then full[#full + 1] = i - 1
      elseif not under_cap(candidates[i]) then capped[#capped + 1] = i - 1 end
    end
    if known < floor or known > seq then resync = 1
    elseif known < seq then again = redis.call('ZRANGEBYSCORE', reopened, '(' .. known, '+inf') end
  end
  local too_many_freed, freed_again = 0, {}
  if mark ~= '' then
    too_many_freed, freed_again = given_back(mark)
    mark = span .. ':' .. freed_now()
  end
  reply[c] = {seats and 0 or 1, seq or 0, resync, again, full, capped, mark, too_many_freed, freed_again, table.concat(verdicts),
    given}
end

if freed > 0 then
  redis.call('HINCRBY', KEYS[2], ':freed', freed)
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -FREED - 1)
  redis.call('PEXPIRE', KEYS[5], ADDS)
end
if next(shared_delta) then
  for field, by in pairs(shared_delta) do redis.call('HINCRBY', KEYS[6], field, by) end
  redis.call('PEXPIRE', KEYS[6], SHARES)
end
for day, map in pairs(adds_delta) do
  local changed = false
  for account, by in pairs(map) do
    redis.call('HINCRBY', adds_key[day], account, by)
    changed = true
  end
  if changed then redis.call('PEXPIRE', adds_key[day], ADDS) end
end
if #events > 0 then redis.call('XADD', KEYS[1], '*', 'now', now, 'events', table.concat(events, '\n')) end
return reply
