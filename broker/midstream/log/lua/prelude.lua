-- Every script begins with these functions. Then come its keys, its arguments and, where the script has to do with a
-- stream, `stream`: those fields of the stream's state that the script reads, false where one is not set (calls.py).

-- Return the server's time in ms. Leases and looks go by this clock alone (PROTOCOL: Lease/Clock).
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Refusals: each returns what its script then answers, or nil. `refusal` in scripts.py makes errors of them.

local function absent(stream)
  if not stream.status or stream.status == 'deleted' then return {'absent'} end
end

local function closed(stream)
  if stream.status == 'ended' then return {'sealed', stream.outcome, stream.epoch, stream.owner} end
  return absent(stream)
end

local function stale(stream)
  return {'stale', stream.epoch}
end

-- The caller is not let in. One without an owner is a reaper, which has to wait until the lease has run out.
local function fenced(stream, epoch, owner)
  if stream.epoch ~= epoch then return stale(stream) end
  if owner == '' then
    if stream.status == 'running' and tonumber(stream.lease_until_ms) > now_ms() then
      return {'leased', stream.lease_until_ms}
    end
  elseif stream.owner ~= owner then
    return stale(stream)
  end
end

-- Publish entries that were appended (PROTOCOL: Append/Published).
local function publish(channel, first_id, entries)
  local message = first_id
  if #entries > 0 then message = message .. '\255' .. table.concat(entries, '\255') end
  redis.call('PUBLISH', channel, message)
end
