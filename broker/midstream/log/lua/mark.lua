-- Write something, even to a full server, so that the caller can wait until it is on disk (PROTOCOL: Seal/Durable).
redis.call('SET', marker, 1, 'EX', ttl_s)
return {'ok'}
