--- include date
local MOST_ROWS = 10000
local DAY_S = 86400

-- Count what a stream has cost, once for each stream (PROTOCOL: Money/Counted). `cost` of its state is an amount in
-- billionths and a currency. Amounts stay texts here, because Lua's numbers are not exact beyond 53 bits.
local function count_cost(state, costs)
  local fields = {'cost', 'counted', 'ended_ms', 'tenant', 'user', 'key', 'thread', 'model'}
  local cost, counted, ended_ms, tenant, user, key, thread, model = unpack(redis.call('HMGET', state, unpack(fields)))
  if not cost or counted then return end
  local nano, currency = string.match(cost, '^(%d+) (%u+)$')
  -- An imported state may hold anything, and must not keep other streams from being noted.
  if not (nano and tonumber(ended_ms or '') and tenant and model) then return end
  redis.call('HSET', state, 'counted', 1)
  local day, month = date_of(tonumber(ended_ms))
  local function add(kind, period, kept_days, row)
    local rows = costs .. ':' .. kind .. ':' .. currency .. ':' .. period
    local length = redis.pcall('HLEN', rows)
    if type(length) ~= 'number' then return end  -- a user of an older `users.acl` counts no costs, but ends streams
    if length >= MOST_ROWS and not redis.call('HGET', rows, row) then row = '' end
    redis.pcall('HINCRBY', rows, row, nano)
    if length == 0 then redis.call('EXPIRE', rows, kept_days * DAY_S) end
  end
  local function add_budgeted(kind, row)
    add(kind, day, 100, row)
    add(kind, month, 400, row)
  end
  add_budgeted('tenant', tenant)
  if user and user ~= '' then add_budgeted('user', tenant .. '/' .. user) end
  if key and key ~= '' then add_budgeted('key', tenant .. '/' .. key) end
  if thread and thread ~= '' then add('thread', day, 35, tenant .. '/' .. thread) end
  add('model', day, 100, tenant .. '/' .. model)
end
