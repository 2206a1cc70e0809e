-- Have a reaper look at a stream after `delay_ms`, unless a look is set already: a client that repeats a start would
-- otherwise put off the look at its own lost stream for ever.
redis.call('ZADD', due, 'NX', now_ms() + delay_ms, stream_id)
return {'ok'}
