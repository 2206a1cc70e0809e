-- Begin a chat's next turn, if it is still the next one (PROTOCOL: Chat/Pointer).
-- KEYS chat; ARGV turn, digest, stream, keep_s
local turn = tonumber(redis.call('HGET', KEYS[1], 'turn') or 0)
if turn + 1 ~= tonumber(ARGV[1]) then return {'moved'} end
redis.call('HSET', KEYS[1], 'turn', ARGV[1], 'digest', ARGV[2], 'stream', ARGV[3], 'seen', '')
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {'ok'}
