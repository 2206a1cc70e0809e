-- Say what became of an end that was handed out: `again` leaves it at the head of its lane, to be handed out again in
-- `delay_ms`. Otherwise it is out of the outbox, and those that were `abandoned` are remembered (PROTOCOL: Ends/Abandoned).
--- include clock
local box, notice = prefix .. ':outbox:' .. outlet, prefix .. ':{' .. stream_id .. '}:notice'
if result == 'again' then
  -- A process that was held up for longer than its claim moves nothing that another process has under way by now.
  if redis.call('HGET', notice, 'tries ' .. outlet) ~= tries then return {'ok', 0} end
  redis.call('ZADD', box .. ':due', 'XX', now_ms + delay_ms, lane)
  return {'ok', 1}
end
if redis.call('ZREM', box .. ':rows', stream_id) == 0 then return {'ok', 0} end  -- somebody else was quicker
redis.call('ZREM', box .. ':lane:' .. lane, stream_id)
if redis.call('EXISTS', box .. ':lane:' .. lane) == 0 then
  redis.call('ZREM', box .. ':due', lane)
else
  redis.call('ZADD', box .. ':due', 'XX', now_ms, lane)
end
if result == 'abandoned' then
  redis.call('ZADD', box .. ':abandoned', now_ms, stream_id)
  redis.call('ZREMRANGEBYRANK', box .. ':abandoned', 0, -most_abandoned - 1)
  redis.call('PEXPIRE', box .. ':abandoned', keep_ms)
elseif redis.call('HINCRBY', notice, 'outlets', -1) <= 0 then
  redis.call('DEL', notice)
end
return {'ok', 1}
