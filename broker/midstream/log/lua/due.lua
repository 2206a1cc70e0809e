-- Hand out the streams that are due for a look, each to one reaper: others see it again only if that one died.
-- What lies further ahead than anybody looks was put there by a clock that was set back since: it is due as well.
-- KEYS due; ARGV again_ms, limit, furthest_ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now + ARGV[3]), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for _, word in ipairs(ahead) do due[#due + 1] = word end
for i = 1, #due, 2 do redis.call('ZADD', KEYS[1], now + ARGV[1], due[i]) end
return {now, due}
