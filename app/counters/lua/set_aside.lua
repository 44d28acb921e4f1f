-- Set aside entries of a stream that cannot be recorded, so that the entries behind them can be.
--
-- KEYS   1 events | 2 epoch | 3 unreadable
-- ARGV   epoch and entry up to which the record has come | then the entries to set aside; without any, the first one
--        after that entry
-- REPLY  { name under which an entry stands aside ... }: the entry's own, unless it is older than one that stands there
--        already; then its field `entry` holds its own
-- COST   3 commands an entry, and 2.

local epoch = redis.call('GET', KEYS[2])
if not epoch then return {} end
local found, names = {}, {}
for i = 3, #ARGV do
  found[#found + 1] = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
end
if #ARGV == 2 then
  found[1] = redis.call('XRANGE', KEYS[1], epoch == ARGV[1] and '(' .. ARGV[2] or '-', '+', 'COUNT', 1)[1]
end
-- Deletes nothing: a server without memory refuses to begin with an XADD, and what is behind these entries waits.
if #found > 0 then redis.call('XDEL', KEYS[1], '0-0') end
for i = 1, #found do
  local entry, fields = found[i][1], found[i][2]
  local name = redis.pcall('XADD', KEYS[3], entry, unpack(fields))
  if type(name) == 'table' then
    name = redis.call('XADD', KEYS[3], '*', 'entry', entry, unpack(fields))
  end
  redis.call('XDEL', KEYS[1], entry)
  names[#names + 1] = name
end
return names
