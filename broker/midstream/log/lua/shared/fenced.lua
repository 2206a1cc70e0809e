-- Refuse who is not let in. A caller without an owner is a reaper, which has to wait until the lease has run out.
if stream.epoch ~= epoch then return {'stale', stream.epoch} end
if owner == '' then
  --- include clock
  local lease_until_ms, format = unpack(redis.call('HMGET', state, 'lease_until_ms', 'format'))
  --- include newer
  if stream.status == 'running' and tonumber(lease_until_ms) > now_ms then return {'leased', lease_until_ms} end
elseif stream.owner ~= owner then
  return {'stale', stream.epoch}
end
