-- Keep a stream for `ttl_s` after its end, whatever the end is or was (PROTOCOL: Retention/Change).
local format = stream.format
--- include newer
--- include absent
redis.call('HDEL', state, 'ttl_s_completed', 'ttl_s_failed', 'ttl_s_cancelled', 'ttl_s_interrupted')
redis.call('HSET', state, 'ttl_s', ttl_s)
if stream.status ~= 'ended' then return {'ok', 0, 0, stream.ttl_s} end
--- include clock
local left_ms = stream.ended_ms + ttl_s * 1000 - now_ms
redis.call('PEXPIRE', state, left_ms)
redis.call('PEXPIRE', log, left_ms)
return {'ok', stream.stored_bytes or 0, stream.ended_ms, stream.ttl_s}
