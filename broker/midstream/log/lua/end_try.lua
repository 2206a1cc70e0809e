-- Note that a try's connection is over (PROTOCOL: Faces/Retries); begin_try.lua says what a row of `tries` is.
local row = redis.call('HGET', tries, stream_id)
local awaits = '0'
if row then
  local state, owner, _, row_awaits, row_count = string.match(row, '^(%a+) (%S+) (%d+) (%d+) (%d+)$')
  local is_ours = state == 'open' and owner == broker and row_count == count
  if not is_ours and state ~= 'done' then return {'moved'} end  -- another try holds the stream by now
  awaits = row_awaits
end
if result == 'delivered' and awaits == '0' then
  redis.call('HDEL', tries, stream_id)
else
  --- include clock
  local state = result == 'delivered' and 'done' or 'lost'
  redis.call('HSET', tries, stream_id, string.format('%s %s %.0f %s %s', state, broker, now_ms, awaits, count))
  redis.call('PEXPIRE', tries, keep_ms)
end
return {'ok'}
