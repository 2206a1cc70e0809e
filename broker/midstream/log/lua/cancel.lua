-- Ask the owner of a running stream to stop (PROTOCOL: Cancel/Effect). A queued stream has none: the caller seals it.
local refusal = closed(stream)
if refusal then return refusal end
if stream.status == 'queued' then return {'queued'} end
redis.call('HSETNX', state, 'cancel_ms', now_ms())
redis.call('PUBLISH', control, message)
return {'ok'}
