-- Renew the lease and note what the attempt knows: intent, upstream id (PROTOCOL: Lease, Intent).
-- KEYS state; ARGV epoch, owner, lease_ms, then field, value, …
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'owner', 'outcome', 'cancel_ms')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[4], s[2], s[3]} end
if s[2] ~= ARGV[1] or s[3] ~= ARGV[2] then return {'stale', s[2]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'lease_until_ms', now + ARGV[3])
if #ARGV > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 4)) end
return {'ok', s[5] or ''}
