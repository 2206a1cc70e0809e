-- Have a reaper look at a stream after `delay_ms`, unless a look is set already: otherwise a client that goes on
-- repeating a start would put off the look at its own lost stream again and again. Answer whether none was set.
--- include clock
return {'ok', redis.call('ZADD', due, 'NX', now_ms + delay_ms, stream_id)}
