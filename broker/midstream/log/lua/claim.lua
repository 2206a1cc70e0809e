-- Raise the epoch, take the lease and append `start` (PROTOCOL: Claim/Fence); answer with fields of the new state.
local refusal = closed(stream)
if refusal then return refusal end
if stream.status ~= 'queued' then return stale(stream) end
local now, epoch, tail = now_ms(), stream.epoch + 1, stream.tail + 1
local model = cjson.encode(stream.model)
local id, start = tail .. '-' .. epoch, 's{"epoch":' .. epoch .. ',"model":' .. model .. '}'
redis.call('XADD', log, id, 'e', start)
redis.call('HSET', state, 'status', 'running', 'epoch', epoch, 'owner', owner, 'tail', tail,
  'started_ms', now, 'lease_until_ms', now + lease_ms, 'lease_ms', lease_ms)
publish(channel, id, {start})
return {'ok', redis.call('HMGET', state, unpack(answer_fields))}
