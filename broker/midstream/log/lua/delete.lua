-- Forget a stream, but leave a tombstone that nothing can be created or written over (PROTOCOL: Delete).
-- KEYS state, log; ARGV tombstone_ms, channel
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'deleted' then return {'absent'} end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'status', 'deleted')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], 'deleted')
return {'ok'}
