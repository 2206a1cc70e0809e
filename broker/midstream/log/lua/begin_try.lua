-- Find the stream of an SDK's request, or note a new one (PROTOCOL: Faces/Retries).
-- A row of the hash `tries` is: stream -> '<open|lost|done> <broker> <since_ms> <awaits_ms> <count>'.
-- `awaits_ms` says when a retry began the stream, if the first try has not come yet; otherwise it is 0.
-- `count` is that of the try which holds the stream; a first try counts 0.
local SILENT_MS = 2000  -- A broker says twice a second that it lives. One that was silent for longer has died.
local count = tonumber(count)
--- include clock
local last_beats = {}
for i = beats_first, #beats, 2 do last_beats[beats[i]] = tonumber(beats[i + 1]) end

local function write(row)
  local value = string.format('%s %s %.0f %.0f %d', row.state, row.broker, row.since, row.awaits, row.count)
  redis.call('HSET', tries, row.id, value)
  redis.call('PEXPIRE', tries, keep_ms)
end

local function is_recent(since)
  return since > 0 and now_ms - since <= tonumber(window_ms)
end

-- Return whether a retry takes row `a` rather than `b`: the highest count, then the one that was lost first.
local function is_better(a, b)
  return not b or a.count > b.count or (a.count == b.count and a.since < b.since)
end

local best, others_open
local rows = redis.call('HGETALL', tries)
for i = 1, #rows, 2 do
  local state, owner, since, awaits, row_count = string.match(rows[i + 1], '^(%a+) (%S+) (%d+) (%d+) (%d+)$')
  local row = {
    id = rows[i], state = state, broker = owner,
    since = tonumber(since), awaits = tonumber(awaits), count = tonumber(row_count),
  }
  if row.state == 'open' and count > 0 then
    local last_beat = last_beats[row.broker] or 0
    if row.broker ~= broker and last_beat < now_ms - SILENT_MS then
      row.state, row.since = 'lost', math.max(row.since, last_beat)  -- its connections were lost with the broker
    elseif row.count < count then
      others_open = true
    end
  end
  local awaits_first = is_recent(row.awaits)
  local awaits_retry = row.state == 'lost' and is_recent(row.since)
  if row.state ~= 'open' and not awaits_first and not awaits_retry then
    redis.call('HDEL', tries, row.id)
  elseif count == 0 then
    if awaits_first and (not best or row.awaits < best.awaits) then best = row end
  elseif awaits_retry and row.count < count and is_better(row, best) then
    best = row
  end
end

if best and count == 0 then  -- a retry has overtaken this first try
  best.awaits = 0
  if best.state == 'done' then redis.call('HDEL', tries, best.id) else write(best) end
  return {'late', best.id}
end
if best then
  write({id = best.id, state = 'open', broker = broker, since = now_ms, awaits = best.awaits, count = count})
  return {'joined', best.id}
end
if others_open and patience == 'patient' then return {'wait'} end
local awaits = count > 0 and now_ms or 0
write({id = new_stream_id, state = 'open', broker = broker, since = now_ms, awaits = awaits, count = count})
return {'new', new_stream_id}
