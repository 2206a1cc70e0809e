-- Note that a process lives and what it says of itself, and add what it has counted to the present minute. `minutes` is
-- the beginning of the key of each minute. The answer says what time it is, and whether an operator wants the process
-- to drain.
--- include clock
redis.call('SET', sign, facts, 'PX', keep_ms)
redis.call('ZADD', roll, now_ms, process)
redis.call('ZREMRANGEBYSCORE', roll, '-inf', now_ms - keep_ms)
redis.call('PEXPIRE', roll, keep_ms)
local minute = minutes .. ':' .. math.floor(now_ms / 60000)
for i = counts_first, #counts, 2 do redis.call('HINCRBY', minute, counts[i], counts[i + 1]) end
local depth = tonumber(depth) or redis.call('ZCARD', queue)
if depth > tonumber(redis.call('HGET', minute, 'queue') or -1) then redis.call('HSET', minute, 'queue', depth) end
redis.call('PEXPIRE', minute, minutes_ms)
return {now_ms, redis.call('EXISTS', drain)}
