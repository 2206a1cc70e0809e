-- Create a stream, or find the one that the same start created before (PROTOCOL: Create/Atomic, Create/Idempotent).
local status, first_digest = unpack(redis.call('HMGET', state, 'status', 'digest'))
if status == 'deleted' then return {'deleted'} end
if status and first_digest ~= digest then return {'mismatch', status} end
if status then return {'found', status} end
--- include clock
redis.call('HSET', state, 'status', 'queued', 'epoch', 0, 'owner', '', 'tail', 0, 'first', 1,
  'created_ms', now_ms, 'queued_ms', now_ms, 'digest', digest, unpack(fields, fields_first))
return {'ok', now_ms}
