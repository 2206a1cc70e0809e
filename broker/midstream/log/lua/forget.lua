-- Take a stream off what leads to it: a chat that is at it is forgotten, and so is its row among the tries of a request
-- (PROTOCOL: Delete/Everything).
redis.call('HDEL', pointer, stream_id)
if redis.call('HGET', pointer, 'stream') == stream_id then redis.call('DEL', pointer) end
return {'ok'}
