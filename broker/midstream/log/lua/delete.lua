-- Forget a stream, but leave a tombstone, so that nothing creates it again or writes to it (PROTOCOL: Delete/Tombstone).
local format = stream.format
--- include newer
--- include absent
if thread_lists ~= '' then
  --- include thread
  forget_in_thread(thread_lists, thread, stream_id)
end
redis.call('DEL', state, log, notice)
redis.call('HSET', state, 'status', 'deleted')
redis.call('PEXPIRE', state, tombstone_ms)
redis.call('PUBLISH', channel, 'deleted')
return {'ok', stream.stored_bytes or 0, stream.ended_ms or 0, stream.ttl_s or 0}
