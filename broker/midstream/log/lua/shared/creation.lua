-- `standing` answers for a start that creates nothing: the same start created the stream before (PROTOCOL:
-- Create/Idempotent), or its thread is active. It writes nothing. Where it answers nothing, what the new stream waits
-- for comes second.
local head = string.sub(state, 1, -#stream_id - #'}:state' - 1)
local function standing()
  local status, first_digest, format = unpack(redis.call('HMGET', state, 'status', 'digest', 'format'))
  --- include newer
  if status == 'deleted' then return {'deleted'} end
  if status and first_digest ~= digest then return {'mismatch', status} end
  if status then return {'found', status} end
  local active, waiting = {}, 0
  if if_active ~= '' then  -- PROTOCOL: Threads/Active
    --- include active
    -- The last list is that of the caller, who is told of no other stream.
    active, waiting = active_in_thread(string.match(thread_lists, '(%S+) %S+$'), head, '+inf')
    if #active > 0 and (if_active == 'join' or if_active == 'reject') then return {'active', active[1]} end
    if #active > 0 and if_active == 'queue' and waiting >= tonumber(most_waiting) then return {'waiting', waiting} end
  end
  return nil, active
end

-- `creation` creates a stream (PROTOCOL: Create/Atomic). Its slip is written with it, where the queue is on this server
-- (PROTOCOL: Queue/Slip). A new stream of a thread is put into its lists, and those that wait for the thread's next
-- stream are told.
local function creation(active)
  redis.call('HSET', state, 'status', 'queued', 'epoch', 0, 'owner', '', 'tail', 0, 'first', 1,
    'created_ms', now_ms, 'queued_ms', now_ms, 'digest', digest, unpack(fields, fields_first))
  if thread_lists ~= '' then
    --- include thread
    for streams in string.gmatch(thread_lists, '(%S+) %S+') do forget_expired(streams, head) end
    list_in_thread(thread_lists, thread, stream_id, next_in_thread(thread_lists, now_ms), keep_ms, most_listed)
  end
  if job_id ~= '' then
    redis.call('SET', job_key, job, 'PX', keep_job_ms)
    redis.call('ZADD', queue, score_ms, job_id)
    redis.call('PUBLISH', control, wake)
  end
  if #active > 0 then
    redis.call('HSET', state, 'waits', if_active)
    local name = string.match(state, '{([^{}]*)}:state$')
    -- The end of each has a reaper look at this stream at once. A list that is cut costs it no more than that haste.
    for _, id in ipairs(active) do
      local other = head .. id .. '}:state'
      local followers = redis.call('HGET', other, 'followers') or ''
      redis.call('HSET', other, 'followers', string.sub(followers .. ' ' .. name, -2000))
    end
  end
  return {'ok', now_ms}
end
