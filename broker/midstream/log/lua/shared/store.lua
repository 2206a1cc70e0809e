local SHORTEST_STEP_MS = 60000

-- What is stored is counted by the time until which it is, in 9 to 18 steps for each time that streams are kept for.
local function store(stored, bytes, ended_ms, ttl_ms)
  local step_ms = 2 ^ math.ceil(math.log(math.max(ttl_ms / 16, SHORTEST_STEP_MS)) / math.log(2))
  local until_ms = math.ceil((ended_ms + ttl_ms) / step_ms) * step_ms
  local left_ms, field = until_ms - now_ms, string.format('%.0f', until_ms)
  if redis.call('HINCRBY', stored, field, bytes) <= 0 or left_ms <= 0 then redis.call('HDEL', stored, field) end
  if left_ms > 0 and left_ms > redis.call('PTTL', stored) then redis.call('PEXPIRE', stored, left_ms) end
end
