-- May this tenant, and this user of it, start one more stream? (PROTOCOL: Limits/Starts, Limits/Generations)
-- The rate is a GCRA: its key holds the time until which the starts so far have used up the rate. A start that comes
-- so early that this time would be more than `window_ms` ahead is refused. What runs is a set of streams with the time
-- at which each is counted no longer, so a stream whose end was never noted ceases to count.
--- include clock

local function refused(of, rate, interval_ms, window_ms, live, most)
  if window_ms > 0 then
    local wait_ms = (tonumber(redis.call('GET', rate)) or 0) + interval_ms - window_ms - now_ms
    -- More than a window ahead is a time from before the server's clock was set back.
    if wait_ms > 0 and wait_ms <= window_ms then return {'starts_per_minute', of, math.ceil(wait_ms)} end
  end
  if most > 0 and not redis.call('ZSCORE', live, stream_id) then
    redis.call('ZREMRANGEBYSCORE', live, '-inf', now_ms)
    if redis.call('ZCARD', live) >= most then return {'generations', of, 1000} end
  end
end

local function count(rate, interval_ms, window_ms, live, most)
  if window_ms > 0 then
    local used = tonumber(redis.call('GET', rate)) or 0
    if used < now_ms or used > now_ms + window_ms then used = now_ms end
    redis.call('SET', rate, used + interval_ms, 'PX', math.ceil(used + interval_ms - now_ms))
  end
  if most > 0 then
    redis.call('ZADD', live, now_ms + life_ms, stream_id)
    redis.call('PEXPIRE', live, life_ms)
  end
end

local tenant = {tenant_rate, tonumber(tenant_interval_ms), tonumber(tenant_window_ms), tenant_live, tonumber(tenant_most)}
local user = {user_rate, tonumber(user_interval_ms), tonumber(user_window_ms), user_live, tonumber(user_most)}
local refusal = refused('tenant', unpack(tenant)) or refused('user', unpack(user))
if refusal then return refusal end
count(unpack(tenant))
count(unpack(user))
if user[5] > 0 then redis.call('SET', slot, user_live, 'PX', life_ms) end
return {'ok'}
