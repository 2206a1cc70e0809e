-- Raise the epoch, take the lease and append `start` (PROTOCOL: Claim/Fence); answer with fields of the new state.
local format = stream.format
--- include newer
--- include closed
if stream.status ~= 'queued' or stream.waits then return {'stale', stream.epoch} end
--- include clock
local epoch, tail, tail_ms = stream.epoch + 1, stream.tail + 1, math.max(0, now_ms - (stream.created_ms or now_ms))
local model = cjson.encode(stream.model)
local id, start = tail .. '-' .. epoch, 's{"epoch":' .. epoch .. ',"model":' .. model .. '}'
--- include size
redis.call('XADD', log, id, tail_ms, start)
redis.call('HSET', state, 'status', 'running', 'epoch', epoch, 'owner', owner, 'tail', tail, 'tail_ms', tail_ms,
  'log_bytes', log_bytes, 'started_ms', now_ms, 'lease_until_ms', now_ms + lease_ms, 'lease_ms', lease_ms)
redis.call('PUBLISH', channel, id .. '\255' .. start)  -- PROTOCOL: Append/Published
return {'ok', redis.call('HMGET', state, unpack(answer_fields, answer_fields_first))}
