-- Begin a chat's next turn, if nobody else has begun it (PROTOCOL: Chat/Pointer).
local last_turn = tonumber(redis.call('HGET', chat, 'turn') or 0)
if last_turn + 1 ~= tonumber(turn) then return {'moved'} end
redis.call('HSET', chat, 'turn', turn, 'digest', digest, 'stream', stream_id, 'seen', '')
redis.call('EXPIRE', chat, keep_s)
return {'ok'}
