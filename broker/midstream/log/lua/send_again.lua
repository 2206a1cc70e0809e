-- Put ends that were abandoned into the outbox again (PROTOCOL: Ends/Abandoned); answer how many there were.
--- include clock
local box, number = prefix .. ':outbox:' .. outlet, 0
for i = stream_ids_first, #stream_ids do
  local name, notice = stream_ids[i], prefix .. ':{' .. stream_ids[i] .. '}:notice'
  if redis.call('ZREM', box .. ':abandoned', name) == 1 then
    local lane, ended_ms = unpack(redis.call('HMGET', notice, 'lane', 'ended_ms'))
    if lane then
      redis.call('ZADD', box .. ':rows', ended_ms, name)
      redis.call('ZADD', box .. ':lane:' .. lane, ended_ms, name)
      redis.call('ZADD', box .. ':due', 'NX', now_ms, lane)  -- another end of the lane may be under way
      redis.call('HDEL', notice, 'tries ' .. outlet)
      for _, key in ipairs({box .. ':rows', box .. ':lane:' .. lane, box .. ':due', notice}) do
        redis.call('PEXPIRE', key, keep_ms)
      end
      number = number + 1
    end
  end
end
return {'ok', number}
