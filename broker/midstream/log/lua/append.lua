-- Append entries and, where an outcome is given, end the stream (PROTOCOL: Append/Fence, Append/Tail, Seal/One).
-- A caller without an owner is a reaper: it may end a stream that is queued, or whose lease has run out.
local refusal = closed(stream) or fenced(stream, epoch, owner)
if refusal then return refusal end
if stream.tail ~= expected_tail then return {'tail', expected_tail, stream.tail} end
local tail = tonumber(stream.tail)
local first_id = (tail + 1) .. '-' .. epoch
for _, entry in ipairs(entries) do
  tail = tail + 1
  redis.call('XADD', log, tail .. '-' .. epoch, 'e', entry)
end
redis.call('HSET', state, 'tail', tail)
if upstream_cursor ~= '' then redis.call('HSET', state, 'upstream_cursor', upstream_cursor) end
if outcome ~= '' then
  redis.call('HSET', state, 'status', 'ended', 'outcome', outcome, 'ended_ms', now_ms(), 'lease_until_ms', 0)
  redis.call('PEXPIRE', state, ttl_ms)
  redis.call('PEXPIRE', log, ttl_ms)
end
publish(channel, first_id, entries)
return {'ok', tail}
