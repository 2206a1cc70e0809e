-- Create a stream, or find the one that an idempotent start created before (PROTOCOL: Create).
-- KEYS state; ARGV digest, then field, value, …
local known = redis.call('HMGET', KEYS[1], 'status', 'digest')
if known[1] == 'deleted' then return {'deleted'} end
if known[1] then
  if known[2] == ARGV[1] then return {'found'} end
  return {'mismatch'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'status', 'queued', 'epoch', 0, 'owner', '', 'tail', 0, 'first', 1,
  'created_ms', now, 'queued_ms', now, 'digest', unpack(ARGV))
return {'created', now}
