-- Note that a try's connection is over (PROTOCOL: Faces/Retries).
-- KEYS tried; ARGV stream, broker, 'delivered' or 'lost', keep_ms, count
local row = redis.call('HGET', KEYS[1], ARGV[1])
local awaits = '0'
if row then
  local state, owner, _, began, count = string.match(row, '^(%a+) (%S+) (%d+) (%d+) (%d+)$')
  local open = state == 'open' and owner == ARGV[2] and count == ARGV[5]
  if not open and state ~= 'done' then return {'moved'} end  -- another try has it by now
  awaits = began
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = ARGV[3] == 'lost' and 'lost' or 'done'
if state == 'done' and awaits == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s %.0f %s %s', state, ARGV[2], now, awaits, ARGV[5]))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'ok'}
