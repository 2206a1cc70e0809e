-- Forget a stream but keep its fence as a tombstone (PROTOCOL: Delete).
-- KEYS state, log; ARGV tombstone_ms, channel
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'tenant')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'status', 'deleted', 'epoch', s[2], 'tenant', s[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], 'deleted')
return {'ok'}
