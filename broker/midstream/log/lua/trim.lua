-- Drop the entries of an ended stream before an offset, but never the last one (PROTOCOL: Read/Trimmed).
-- A live log is not trimmed, because faces need its beginning (docs/findings.md: Clients).
local format = stream.format
--- include newer
--- include absent
if stream.status ~= 'ended' then return {'stale', stream.epoch} end
local first = tonumber(stream.first)
local new_first = math.min(tonumber(first_kept), tonumber(stream.tail))
if new_first <= first then return {'ok', first, 0, 0, 0} end
redis.call('XTRIM', log, 'MINID', new_first .. '-0')
local before = tonumber(stream.stored_bytes or 0)
--- include size
local after = math.min(before, log_bytes + (tonumber(redis.pcall('MEMORY', 'USAGE', state, 'SAMPLES', 0)) or 0))
redis.call('HSET', state, 'first', new_first, 'stored_bytes', after)
redis.call('PUBLISH', channel, 'trimmed')
return {'ok', new_first, after - before, stream.ended_ms, stream.ttl_s}
