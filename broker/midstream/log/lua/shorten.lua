-- End a lease in its usual time, where the server's clock was set back behind its last renewal (PROTOCOL: Recovery/Clock).
-- KEYS state; ARGV epoch
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'owner', 'outcome', 'lease_until_ms', 'lease_ms')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[4], s[2], s[3]} end
if s[2] ~= ARGV[1] or s[1] ~= 'running' or not s[6] then return {'stale', s[2]} end
local time = redis.call('TIME')
local usual = time[1] * 1000 + math.floor(time[2] / 1000) + s[6]
if tonumber(s[5]) > usual then redis.call('HSET', KEYS[1], 'lease_until_ms', usual) end
return {'ok'}
