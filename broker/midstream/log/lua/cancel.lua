-- Ask the owner of a running stream to stop (PROTOCOL: Cancel/Effect). A queued stream has none: the caller seals it.
local format = stream.format
--- include newer
--- include closed
if stream.status == 'queued' then return {'queued'} end
--- include clock
redis.call('HSETNX', state, 'cancel_ms', now_ms)
redis.call('PUBLISH', control, message)
return {'ok'}
