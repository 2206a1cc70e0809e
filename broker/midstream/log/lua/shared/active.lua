-- The ids of a thread's streams before a place that have not ended, the oldest first, among the last ones, and how many
-- of them wait for others (PROTOCOL: Threads/Active). `head` is what the key of a state begins with, up to the id.
local MOST_LOOKED_AT = 256

local function active_in_thread(streams, head, before)
  local active, waiting = {}, 0
  for _, id in ipairs(redis.call('ZRANGE', streams, before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, MOST_LOOKED_AT)) do
    local status, waits = unpack(redis.call('HMGET', head .. id .. '}:state', 'status', 'waits'))
    if status == 'queued' or status == 'running' then
      table.insert(active, 1, id)
      if waits then waiting = waiting + 1 end
    end
  end
  return active, waiting
end
