-- `admission` counts a start, and answers with `ok` or the limit that refuses it. `owners`, from `owners_first` to
-- `owners_last`, holds for each of tenant, user and key: whose it is, the key of its rate, an interval, a window, the
-- key of its set of what runs, and how many may be in it. The tenant comes first, and its set holds what the others hold.
--- include places
local MOST_ORPHANS = 100
local MOST_WAIT_MS = 3600000
local bytes, most_bytes = tonumber(size_bytes), tonumber(tenant_bytes)

-- The rate is a GCRA: its key holds the time until which the starts so far have used up the rate. A start that comes
-- so early that this time would be more than `window_ms` ahead is refused.
local function too_early(of, rate, interval_ms, window_ms)
  if window_ms == 0 then return end
  local wait_ms = (tonumber(redis.call('GET', rate)) or 0) + interval_ms - window_ms - now_ms
  -- More than a window ahead is a time from before the server's clock was set back.
  if wait_ms > 0 and wait_ms <= window_ms then return {'starts_per_minute', of, math.ceil(wait_ms)} end
end

local function too_many(of, set, most)
  if most == 0 or redis.call('ZSCORE', set, stream_name) or redis.call('ZCARD', set) < most then return end
  if set ~= live then
    -- The end of a stream may have been noted by a process that knew nothing of this set.
    for _, name in ipairs(redis.call('ZRANGE', set, 0, MOST_ORPHANS - 1)) do
      if not redis.call('ZSCORE', live, name) then redis.call('ZREM', set, name) end
    end
  end
  if redis.call('ZCARD', set) >= most then return {'generations', of, 1000} end
end

local function too_large()
  if most_bytes == 0 or redis.call('HGET', places, stream_name) then return end
  local sum, soonest = tonumber(redis.call('HGET', places, '') or 0), nil
  local rows = redis.call('HGETALL', stored)
  for i = 1, #rows, 2 do
    local until_ms = tonumber(rows[i])
    if until_ms <= now_ms then
      redis.call('HDEL', stored, rows[i])
    else
      sum = sum + tonumber(rows[i + 1])
      soonest = math.min(soonest or until_ms, until_ms)
    end
  end
  if sum + bytes <= most_bytes then return end
  return {'stored_bytes', 'tenant', soonest and math.min(soonest - now_ms, MOST_WAIT_MS) or 1000}
end

local function admission()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', live, '-inf', now_ms, 'LIMIT', 0, MOST_ORPHANS)) do
    free_place(live, places, name)
  end

  -- What has been spent of each budget goes into the answer, after `ok` (PROTOCOL: Money/Budgets).
  local answer = {'ok'}
  if budgets ~= '' then
    --- include date
    local day, month = date_of(now_ms)
    local request = cjson.decode(budgets)
    for _, budget in ipairs(request.rows) do
      local of, period, row, most = unpack(budget)
      local rows = costs .. ':' .. of .. ':' .. request.currency .. ':' .. (period == 'day' and day or month)
      local spent = redis.call('HGET', rows, row) or '0'
      if request.refuses and tonumber(spent) >= tonumber(most) then return {period .. '_budget', of, 0} end
      answer[#answer + 1] = spent
    end
  end

  local counts, others = most_bytes > 0, ''
  for i = owners_first, owners_last, 6 do
    local of, rate, interval_ms, window_ms, set, most = unpack(owners, i, i + 5)
    local refusal = too_early(of, rate, tonumber(interval_ms), tonumber(window_ms)) or too_many(of, set, tonumber(most))
    if refusal then return refusal end
    if tonumber(most) > 0 then
      counts = true
      if set ~= live then others = others .. ' ' .. set end
    end
  end
  local refusal = too_large()
  if refusal then return refusal end

  for i = owners_first, owners_last, 6 do
    local _, rate, interval_ms, window_ms, set, most = unpack(owners, i, i + 5)
    if tonumber(window_ms) > 0 then
      local used = tonumber(redis.call('GET', rate)) or 0
      if used < now_ms or used > now_ms + window_ms then used = now_ms end
      redis.call('SET', rate, used + interval_ms, 'PX', math.ceil(used + interval_ms - now_ms))
    end
    if tonumber(most) > 0 or (set == live and counts) then
      redis.call('ZADD', set, now_ms + life_ms, stream_name)
      redis.call('PEXPIRE', set, life_ms)
    end
  end
  if counts then
    if redis.call('HSETNX', places, stream_name, size_bytes .. others) == 1 then
      redis.call('HINCRBY', places, '', size_bytes)
    end
    redis.call('PEXPIRE', places, life_ms)
  end
  return answer
end
