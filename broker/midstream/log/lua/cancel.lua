-- Ask the owner of a running stream to stop (PROTOCOL: Cancel). A queued one is sealed by the caller.
-- KEYS state; ARGV control channel, message
local s = redis.call('HMGET', KEYS[1], 'status', 'outcome', 'epoch', 'owner')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[2], s[3], s[4]} end
if s[1] == 'queued' then return {'queued'} end
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'cancel_ms', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'ok'}
