-- Forget a stream, but leave a tombstone, so that nothing creates it again or writes to it (PROTOCOL: Delete/Tombstone).
--- include absent
local left_bytes = stream.status == 'ended' and (stream.log_bytes or 0) + (stream.request_bytes or 0) or 0
redis.call('DEL', state, log)
redis.call('HSET', state, 'status', 'deleted')
redis.call('PEXPIRE', state, tombstone_ms)
redis.call('PUBLISH', channel, 'deleted')
return {'ok', left_bytes, stream.ended_ms or 0, stream.ttl_s or 0}
