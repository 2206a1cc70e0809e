-- Drop the entries before an offset. Only of an ended stream: faces need a live log's front (docs/findings.md: Clients).
-- KEYS state, log; ARGV first offset to keep
local s = redis.call('HMGET', KEYS[1], 'status', 'tail', 'first', 'epoch')
if not s[1] or s[1] == 'deleted' then return {'absent'} end
if s[1] ~= 'ended' then return {'stale', s[4]} end
local first = math.min(tonumber(ARGV[1]), tonumber(s[2]))
if first > tonumber(s[3]) then
  redis.call('XTRIM', KEYS[2], 'MINID', first .. '-0')
  redis.call('HSET', KEYS[1], 'first', first)
end
return {'ok', math.max(first, tonumber(s[3]))}
