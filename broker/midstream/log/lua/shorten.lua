-- End a lease in its usual time, where the server's clock was set back since its last renewal (PROTOCOL: Recovery/Clock).
local format = stream.format
--- include newer
--- include closed
if stream.epoch ~= epoch or stream.status ~= 'running' or not stream.lease_ms then return {'stale', stream.epoch} end
--- include clock
local usual_ms = now_ms + stream.lease_ms
if tonumber(stream.lease_until_ms) > usual_ms then redis.call('HSET', state, 'lease_until_ms', usual_ms) end
return {'ok'}
