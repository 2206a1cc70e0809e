-- Renew the lease, and note fields of the state with it (PROTOCOL: Lease/Renew, Intent/Mark, Intent/Upstream).
local refusal = closed(stream)
if refusal then return refusal end
if stream.epoch ~= epoch or stream.owner ~= owner then return stale(stream) end
redis.call('HSET', state, 'lease_until_ms', now_ms() + lease_ms, unpack(notes))
return {'ok', stream.cancel_ms or ''}
