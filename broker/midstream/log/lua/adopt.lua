-- Make a stream of entries that were staged, with everything by which it is found and counted: all of it or nothing
-- (PROTOCOL: Archive/Import). Nothing is changed where the id is taken.
--- include clock
--- include store
--- include note_end
local status = redis.call('HGET', state, 'status')
if status then return {'taken', status} end
local left_ms = ended_ms + ttl_ms - now_ms
if left_ms <= 0 then return {'expired'} end
if redis.call('XLEN', staged) ~= tonumber(entries) then return {'unstaged'} end
redis.call('RENAME', staged, log)
redis.call('HSET', state, unpack(fields, fields_first))
redis.call('HSET', state, 'noted', 1)  -- an import is no end, and no cost of today
if redis.call('HGET', state, 'cost') then redis.call('HSET', state, 'counted', 1) end
--- include size
local left_bytes = log_bytes + (tonumber(redis.pcall('MEMORY', 'USAGE', state, 'SAMPLES', 0)) or 0)
redis.call('HSET', state, 'stored_bytes', left_bytes)
redis.call('PEXPIRE', state, left_ms)
redis.call('PEXPIRE', log, left_ms)
store(stored, left_bytes, tonumber(ended_ms), tonumber(ttl_ms))
note_end(stream_name, left_ms)
for list in string.gmatch(lists, '%S+') do
  redis.call('ZADD', list, 'NX', created_ms, stream_id)
  if redis.call('PTTL', list) < left_ms then redis.call('PEXPIRE', list, left_ms) end
end
if thread_lists ~= '' then
  --- include thread
  list_in_thread(thread_lists, thread, stream_id, tonumber(created_ms), left_ms, most_listed)
end
if chat ~= '' and (tonumber(redis.call('HGET', chat, 'turn')) or 0) < tonumber(chat_turn) then
  redis.call('HSET', chat, 'turn', chat_turn, 'digest', chat_digest, 'stream', stream_id, 'seen', chat_seen)
  redis.call('PEXPIRE', chat, left_ms)
end
return {'ok'}
