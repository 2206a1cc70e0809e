-- Raise the epoch, take the lease, append `start` (PROTOCOL: Claim).
-- KEYS state, log; ARGV owner, lease_ms, channel, then the state's fields to answer with
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'tail', 'model', 'outcome', 'owner')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[5], s[2], s[6]} end
if s[1] ~= 'queued' then return {'stale', s[2]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch, tail = s[2] + 1, s[3] + 1
local stored = 's{"epoch":' .. epoch .. ',"model":' .. cjson.encode(s[4]) .. '}'
redis.call('XADD', KEYS[2], tail .. '-' .. epoch, 'e', stored)
redis.call('HSET', KEYS[1], 'status', 'running', 'epoch', epoch, 'owner', ARGV[1], 'tail', tail,
  'started_ms', now, 'lease_until_ms', now + ARGV[2], 'lease_ms', ARGV[2])
redis.call('PUBLISH', ARGV[3], tail .. '-' .. epoch .. '\255' .. stored)
return {'ok', redis.call('HMGET', KEYS[1], unpack(ARGV, 4))}
