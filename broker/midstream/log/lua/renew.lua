-- Renew the lease, and note fields of the state with it (PROTOCOL: Lease/Renew, Intent/Mark, Intent/Upstream).
--- include closed
if stream.epoch ~= epoch or stream.owner ~= owner then return {'stale', stream.epoch} end
--- include clock
redis.call('HSET', state, 'lease_until_ms', now_ms + lease_ms, unpack(notes, notes_first))
return {'ok', stream.cancel_ms or ''}
