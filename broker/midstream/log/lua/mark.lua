-- Write something, also to a full server, so that there is something to wait for on its disk (PROTOCOL: Seal/Durable).
-- KEYS marker; ARGV ttl_s
redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
return {'ok'}
