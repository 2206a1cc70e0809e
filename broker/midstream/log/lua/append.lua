-- Append entries and, where an outcome is given, end the stream (PROTOCOL: Append/Fence, Append/Tail, Seal/One).
-- A caller without an owner is a reaper: it may end a stream that is queued, or whose lease has run out.
--- include closed
--- include fenced
if stream.tail ~= expected_tail then return {'tail', expected_tail, stream.tail} end
local tail, bytes = tonumber(expected_tail), stream.log_bytes or 0
local message = (tail + 1) .. '-' .. epoch
for i = entries_first, #entries do
  tail, bytes = tail + 1, bytes + #entries[i]
  redis.call('XADD', log, tail .. '-' .. epoch, 'e', entries[i])
end
redis.call('HSET', state, 'tail', tail, 'log_bytes', bytes)
local answer = {'ok', tail}
if upstream_cursor ~= '' then redis.call('HSET', state, 'upstream_cursor', upstream_cursor) end
if outcome ~= '' then
  --- include clock
  redis.call('HSET', state, 'status', 'ended', 'outcome', outcome, 'ended_ms', now_ms, 'lease_until_ms', 0)
  redis.call('PEXPIRE', state, ttl_ms)
  redis.call('PEXPIRE', log, ttl_ms)
  answer[3], answer[4] = bytes + (redis.call('HGET', state, 'request_bytes') or 0), now_ms
end
-- PROTOCOL: Append/Published.
if entries[entries_first] then message = message .. '\255' .. table.concat(entries, '\255', entries_first) end
redis.call('PUBLISH', channel, message)
return answer
