-- Put an ended stream into the outbox of each outlet of its tenant. `outlets` has for each outlet: whose ends it is given
-- (* is everybody's), for how long a row is kept, how many rows it has at most, and when a process last named it.
-- A user of an older `users.acl` may not read them, and then streams end all the same: hence `pcall`, and no `Key`.
local outlet_rows = redis.pcall('HGETALL', outlets)

local function put_into_outbox(name)
  local tenant, own = string.match(name, '^(.*)/') or 'default', prefix .. ':{' .. name .. '}:'
  local facts, lane, ended_ms, notice_keep_ms = nil, nil, nil, 0
  for i = 1, #outlet_rows, 2 do
    local of, keep_ms, most, named_ms = string.match(outlet_rows[i + 1], '^(%S+) (%d+) (%d+) (%d+)$')
    local box = prefix .. ':outbox:' .. outlet_rows[i]
    if (of == '*' or of == tenant) and now_ms - named_ms <= tonumber(keep_ms) then
      if not facts then
        facts = redis.call('HMGET', own .. 'state', 'status', 'tail', 'ended_ms', 'created_ms', 'user', 'thread',
          'metadata', 'model', 'outcome')
        if facts[1] ~= 'ended' then return end  -- it was deleted, or its time is over
        ended_ms = facts[3]
        local last = redis.call('XRANGE', own .. 'log', facts[2], facts[2])[1]
        local thread = facts[6] or ''
        lane = thread == '' and name or redis.sha1hex(tenant .. ' ' .. thread)
        redis.call('HSET', own .. 'notice', 'outlets', 0, 'lane', lane, 'ended_ms', ended_ms, 'created_ms', facts[4] or 0,
          'user', facts[5] or '', 'thread', thread, 'metadata', facts[7] or '{}', 'model', facts[8] or '',
          'outcome', facts[9] or '', 'end', last and last[2][2] or '')
      end
      if redis.call('ZCARD', box .. ':rows') >= tonumber(most) then
        redis.call('HINCRBY', box .. ':lost', 'ends', 1)
      else
        redis.call('ZADD', box .. ':rows', ended_ms, name)
        redis.call('ZADD', box .. ':lane:' .. lane, ended_ms, name)
        redis.call('ZADD', box .. ':due', 'NX', now_ms, lane)
        redis.call('HINCRBY', own .. 'notice', 'outlets', 1)
      end
      notice_keep_ms = math.max(notice_keep_ms, tonumber(keep_ms))
      for _, part in ipairs({':rows', ':lane:' .. lane, ':due', ':lost'}) do
        redis.call('PEXPIRE', box .. part, keep_ms)
      end
    end
  end
  if facts then redis.call('PEXPIRE', own .. 'notice', notice_keep_ms) end
end
