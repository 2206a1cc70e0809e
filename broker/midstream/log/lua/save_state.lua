-- Keep what an app saves for the next stream of a thread, if the stream is still its own (PROTOCOL: App/State). `listing`
-- has the keys of all that is saved for the same user, by the time at which each expires.
--- include closed
--- include fenced
--- include clock
redis.call('ZREMRANGEBYSCORE', listing, '-inf', now_ms)
if value == '' then
  redis.call('DEL', saved)
  redis.call('ZREM', listing, saved)
else
  redis.call('SET', saved, value, 'PX', keep_ms)
  redis.call('ZADD', listing, now_ms + keep_ms, saved)
  redis.call('PEXPIRE', listing, keep_ms)
end
return {'ok'}
