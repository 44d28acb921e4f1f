-- Do once what the scripts of huoma do: a user, or a server, that may not is found before a visitor meets it.
--
-- KEYS   1 probe
-- ARGV   -
-- REPLY  1; the key is gone again
-- COST   11 commands.

-- First, so that a server without memory, which is no missing permission, refuses nothing of what follows.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '1')
redis.call('SETBIT', KEYS[1], 0, 1)
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('DEL', KEYS[1])
redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 1, 'n')
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], '1-1', 'n', '1')
redis.call('DEL', KEYS[1])
return 1
