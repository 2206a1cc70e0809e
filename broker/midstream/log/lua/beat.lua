-- Note that a broker lives, and forget brokers that have not said so for `keep_ms`.
local now = now_ms()
redis.call('ZADD', brokers, now, broker)
redis.call('ZREMRANGEBYSCORE', brokers, '-inf', now - keep_ms)
redis.call('PEXPIRE', brokers, keep_ms)
return {'ok'}
