-- Let a stream start that waits in its thread, if all that were started before it have ended (PROTOCOL: Threads/Active);
-- otherwise answer with the ids of those. `streams` is the key of the thread's streams.
local format = stream.format
--- include newer
--- include closed
if stream.status ~= 'queued' then return {'stale', stream.epoch} end
if not stream.waits then return {'ok'} end
local place = redis.call('ZSCORE', streams, stream_id)
if place then
  --- include active
  local head = string.sub(state, 1, -#stream_id - #'}:state' - 1)
  local active = active_in_thread(streams, head, '(' .. place)
  if #active > 0 then return {'ok', unpack(active)} end
end
--- include clock
redis.call('HDEL', state, 'waits')
redis.call('HSET', state, 'queued_ms', now_ms)
return {'ok'}
