-- Leave only some lines of an entry set aside: the record has the others.
--
-- KEYS   1 unreadable
-- ARGV   name under which the entry stands aside | entry (ms-seq) | now (ms) | numbers of the lines left, a blank
--        between | events, a line each
-- REPLY  1; 0 when the entry is gone, and nothing was done
-- COST   2 commands.

if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', 'entry', ARGV[2], 'now', ARGV[3], 'lines', ARGV[4], 'events', ARGV[5])
return 1
