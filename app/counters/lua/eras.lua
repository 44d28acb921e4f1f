-- Note the eras of a workspace's zones whose local days may have adds, before a change of the zone is certain.
--
-- KEYS   1 eras
-- ARGV   eras (numbers, blanks between)
-- REPLY  1
-- COST   2 commands.

-- Removed first: a server without memory refuses to begin with a SET.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
return 1
