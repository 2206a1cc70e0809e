-- Have a reaper look at a stream after a while, by the server's clock.
-- KEYS due; ARGV delay_ms, id
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1], ARGV[2])
return {'ok'}
