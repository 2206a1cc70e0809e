-- Have a reaper look at a stream after a while, by the server's clock.
-- KEYS due; ARGV delay_ms, id, and NX where a look that is already due must stay as it is
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
if ARGV[3] then
  redis.call('ZADD', KEYS[1], ARGV[3], at, ARGV[2])
else
  redis.call('ZADD', KEYS[1], at, ARGV[2])
end
return {'ok'}
