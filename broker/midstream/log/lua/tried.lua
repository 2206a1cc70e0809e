-- Find the stream of an SDK's request, or note a new one (PROTOCOL: Faces/Retries).
-- KEYS tried; ARGV count, new stream, broker, window_ms, keep_ms, 'patient' or 'last', then each broker's name and last beat
-- A row: stream -> '<open|lost|done> <broker> <since_ms> <awaits_ms> <count>'. awaits_ms: when a retry began the stream
-- whose first try has not come yet, else 0. count: of the try that has it, 0 for a first one.
local count, stream, broker = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local window = tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local beats = {}
for i = 7, #ARGV, 2 do beats[ARGV[i]] = tonumber(ARGV[i + 1]) end

local function write(id, state, owner, since, awaits, n)
  redis.call('HSET', KEYS[1], id, string.format('%s %s %.0f %.0f %d', state, owner, since, awaits, n))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end

local best, others_open
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local state, owner, since, awaits, n = string.match(rows[i + 1], '^(%a+) (%S+) (%d+) (%d+) (%d+)$')
  local row = {id = rows[i], state = state, owner = owner, since = tonumber(since), awaits = tonumber(awaits), n = tonumber(n)}
  if state == 'open' and count > 0 then
    local beat = beats[owner] or 0
    if owner ~= broker and beat < now - 2000 then  -- a broker says twice a second that it lives: it has died, and the connection with it
      row.state, row.since = 'lost', math.max(row.since, beat)
    elseif row.n < count then
      others_open = true
    end
  end
  local awaited = row.awaits > 0 and now - row.awaits <= window
  local waiting = row.state == 'lost' and now - row.since <= window
  if row.state ~= 'open' and not awaited and not waiting then
    redis.call('HDEL', KEYS[1], row.id)
  elseif count == 0 then
    if awaited and (not best or row.awaits < best.awaits) then best = row end
  elseif waiting and row.n < count then
    if not best or row.n > best.n or (row.n == best.n and row.since < best.since) then best = row end
  end
end

if best and count == 0 then
  if best.state == 'done' then redis.call('HDEL', KEYS[1], best.id)
  else write(best.id, best.state, best.owner, best.since, 0, best.n) end
  return {'late', best.id}
end
if best then
  write(best.id, 'open', broker, now, best.awaits, count)
  return {'joined', best.id}
end
if others_open and ARGV[6] == 'patient' then return {'wait'} end
write(stream, 'open', broker, now, count > 0 and now or 0, count)
return {'new', stream}
