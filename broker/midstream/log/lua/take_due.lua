-- Hand out streams that are due for a look, each to one reaper. Others are handed them `again_ms` later, unless the
-- first has set a new time by then: it may have died.
-- A look further ahead than anybody sets one stems from before the clock was set back, and is due too.
--- include clock
local taken = redis.call('ZRANGEBYSCORE', due, '-inf', now_ms, 'WITHSCORES', 'LIMIT', 0, limit)
local ahead = redis.call('ZRANGEBYSCORE', due, '(' .. (now_ms + furthest_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
for _, word in ipairs(ahead) do taken[#taken + 1] = word end
for i = 1, #taken, 2 do redis.call('ZADD', due, now_ms + again_ms, taken[i]) end
local next_look = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
return {now_ms, taken, next_look[2] or now_ms + furthest_ms}
