-- State and a page of entries, at one moment.
-- KEYS state, log; ARGV after, limit (0: the state alone), then the state's fields
local state = redis.call('HMGET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] == '0' then return {state, {}} end
return {state, redis.call('XRANGE', KEYS[2], ARGV[1] + 1, '+', 'COUNT', ARGV[2])}
