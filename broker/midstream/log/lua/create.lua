-- Create a stream, or find the one that the same start created before (PROTOCOL: Create/Atomic, Create/Idempotent).
-- Its slip is written with it, where the queue is on this server (PROTOCOL: Queue/Slip).
-- A new stream of a thread is put into its lists, and those that wait for the thread's next stream are told.
local status, first_digest, format = unpack(redis.call('HMGET', state, 'status', 'digest', 'format'))
--- include newer
if status == 'deleted' then return {'deleted'} end
if status and first_digest ~= digest then return {'mismatch', status} end
if status then return {'found', status} end
--- include clock
redis.call('HSET', state, 'status', 'queued', 'epoch', 0, 'owner', '', 'tail', 0, 'first', 1,
  'created_ms', now_ms, 'queued_ms', now_ms, 'digest', digest, unpack(fields, fields_first))
if thread_lists ~= '' then
  --- include thread
  local head = string.sub(state, 1, -#stream_id - #'}:state' - 1)
  for streams in string.gmatch(thread_lists, '(%S+) %S+') do forget_expired(streams, head) end
  list_in_thread(thread_lists, thread, stream_id, next_in_thread(thread_lists, now_ms), keep_ms, most_listed)
end
if job_id ~= '' then
  redis.call('SET', job_key, job, 'PX', keep_job_ms)
  redis.call('ZADD', queue, score_ms, job_id)
  redis.call('PUBLISH', control, wake)
end
return {'ok', now_ms}
