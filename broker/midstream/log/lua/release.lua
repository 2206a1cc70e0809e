-- Give a stream back to the queue: its owner hands it over, or the reaper takes it from a lost one.
-- KEYS state; ARGV epoch, owner (empty: the reaper, and the lease must have run out)
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'owner', 'outcome', 'lease_until_ms')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[4], s[2], s[3]} end
if s[2] ~= ARGV[1] or s[1] ~= 'running' then return {'stale', s[2]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  if tonumber(s[5]) > now then return {'leased', s[5]} end
elseif s[3] ~= ARGV[2] then
  return {'stale', s[2]}
end
-- An owner that nobody is fences the lost one at once, before the next claim raises the epoch.
redis.call('HSET', KEYS[1], 'status', 'queued', 'owner', '', 'queued_ms', now, 'lease_until_ms', 0)
return {'ok'}
