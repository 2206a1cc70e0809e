-- The lists of a thread (PROTOCOL: Threads/Lists). `lists` holds for each of its owners two keys: that of the thread's
-- streams by their order, and that of the owner's threads by the time of their last start.
local MOST_EXPIRED = 2  -- looked for at each start, which adds one stream

local function forget_in_thread(lists, thread, stream_id)
  for streams, threads in string.gmatch(lists, '(%S+) (%S+)') do
    redis.call('ZREM', streams, stream_id)
    if redis.call('EXISTS', streams) == 0 then redis.call('ZREM', threads, thread) end
  end
end

-- `head` is what the key of a state begins with, up to the stream's id.
local function forget_expired(streams, head)
  for _, stream_id in ipairs(redis.call('ZRANGE', streams, 0, MOST_EXPIRED - 1)) do
    if redis.call('EXISTS', head .. stream_id .. '}:state') == 1 then return end
    redis.call('ZREM', streams, stream_id)
  end
end

local function list_in_thread(lists, thread, stream_id, at_ms, keep_ms, most)
  for streams, threads in string.gmatch(lists, '(%S+) (%S+)') do
    redis.call('ZADD', streams, 'NX', at_ms, stream_id)
    redis.call('ZREMRANGEBYRANK', streams, 0, -most - 1)
    if at_ms > tonumber(redis.call('ZSCORE', threads, thread) or 0) then redis.call('ZADD', threads, at_ms, thread) end
    redis.call('ZREMRANGEBYRANK', threads, 0, -most - 1)
    for _, key in ipairs({streams, threads}) do
      if redis.call('PTTL', key) < tonumber(keep_ms) then redis.call('PEXPIRE', key, keep_ms) end
    end
    redis.call('PUBLISH', streams, stream_id)
  end
end

-- A stream that starts stands after all that were started before, whatever the server's clock says.
local function next_in_thread(lists, now)
  local at_ms = now
  for streams in string.gmatch(lists, '(%S+) %S+') do
    local last = redis.call('ZRANGE', streams, -1, -1, 'WITHSCORES')[2]
    at_ms = math.max(at_ms, tonumber(last or 0) + 1)
  end
  return at_ms
end
