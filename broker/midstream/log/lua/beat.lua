-- Note that a broker lives, and forget brokers that have not said so for `keep_ms`.
--- include clock
redis.call('ZADD', brokers, now_ms, broker)
redis.call('ZREMRANGEBYSCORE', brokers, '-inf', now_ms - keep_ms)
redis.call('PEXPIRE', brokers, keep_ms)
return {'ok'}
