-- Append entries, and seal with them where an outcome is given (PROTOCOL: Append, Seal).
-- KEYS state, log; ARGV epoch, owner, expected tail, channel, upstream cursor, outcome, ttl_ms, entry, …
-- An empty owner is the reaper: it may only seal what is queued or what nobody holds a lease on.
local s = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'owner', 'tail', 'outcome', 'lease_until_ms')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] == 'ended' then return {'sealed', s[5], s[2], s[3]} end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if s[2] ~= ARGV[1] then return {'stale', s[2]} end
if ARGV[2] == '' then
  if s[1] == 'running' and tonumber(s[6]) > now() then return {'leased', s[6]} end
elseif s[3] ~= ARGV[2] then
  return {'stale', s[2]}
end
if s[4] ~= ARGV[3] then return {'tail', s[4]} end
local tail = tonumber(s[4])
local batch = {(tail + 1) .. '-' .. s[2]}
for i = 8, #ARGV do
  tail = tail + 1
  redis.call('XADD', KEYS[2], tail .. '-' .. s[2], 'e', ARGV[i])
  batch[#batch + 1] = ARGV[i]
end
redis.call('HSET', KEYS[1], 'tail', tail)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'upstream_cursor', ARGV[5]) end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'status', 'ended', 'outcome', ARGV[6], 'ended_ms', now(), 'lease_until_ms', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
redis.call('PUBLISH', ARGV[4], table.concat(batch, '\255'))
return {'ok', tail}
