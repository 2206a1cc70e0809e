-- Append entries and, where an outcome is given, end the stream (PROTOCOL: Append/Fence, Append/Tail, Seal/One).
-- A caller without an owner is a reaper: it may end a stream that is queued, or whose lease has run out.
-- It is sent as `append` and as `seal` (log/calls.py). Names that are set nowhere here are the call's, or an include's.
--- include closed
--- include fenced
if stream.tail ~= expected_tail then return {'tail', expected_tail, stream.tail} end
if tail_ms == '' then
  --- include clock
  tail_ms = math.max(0, now_ms - (redis.call('HGET', state, 'created_ms') or now_ms))
end
local tail, first_id, left_bytes, ended_ms, ttl_s = tonumber(expected_tail), nil, nil, nil, nil
local tail_text = expected_tail  -- made once for each offset: it takes as long as reading a field of the state
for i = entries_first, #entries do
  tail = tail + 1
  tail_text = tail .. ''
  local id = tail_text .. '-' .. epoch
  first_id = first_id or id
  redis.call('XADD', log, id, tail_ms, entries[i])  -- PROTOCOL: Entries/Time
end
redis.call('HSET', state, 'tail', tail_text, 'tail_ms', tail_ms)
if upstream_cursor ~= '' then redis.call('HSET', state, 'upstream_cursor', upstream_cursor) end
if outcome ~= '' then
  --- include clock
  ended_ms = now_ms
  local ttls = redis.call('HMGET', state, 'ttl_s_' .. outcome, 'ttl_s')  -- PROTOCOL: Retention/Outcome
  ttl_s = ttls[1] or ttls[2]
  redis.call('HSET', state, 'status', 'ended', 'outcome', outcome, 'code', code, 'ended_ms', ended_ms,
    'lease_until_ms', 0, 'ttl_s', ttl_s)
  if cost ~= '' then redis.call('HSET', state, 'cost', cost) end
  --- include size
  left_bytes = log_bytes + (tonumber(redis.pcall('MEMORY', 'USAGE', state, 'SAMPLES', 0)) or 0)
  redis.call('HSET', state, 'stored_bytes', left_bytes)
  redis.call('EXPIRE', state, ttl_s)
  redis.call('EXPIRE', log, ttl_s)
end
-- PROTOCOL: Append/Published.
local message = first_id and first_id .. '\255' .. table.concat(entries, '\255', entries_first)
redis.call('PUBLISH', channel, message or (tail + 1) .. '-' .. epoch)
return {'ok', tail, left_bytes, ended_ms, ttl_s}
