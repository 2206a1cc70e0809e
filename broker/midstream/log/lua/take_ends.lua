-- Hand out the next end of each lane that is due, to one process for `claim_ms` (PROTOCOL: Ends/Order). `per_outlet` are
-- outlets, each with how many of its lanes this process takes.
-- A lane that is due later than anybody plans stems from before the clock was set back, and is due too.
--- include clock
local answer = {'ok', now_ms}
for i = per_outlet_first, #per_outlet, 2 do
  local box, most, taken = prefix .. ':outbox:' .. per_outlet[i], tonumber(per_outlet[i + 1]), {}
  if most > 0 then
    local lanes = redis.call('ZRANGEBYSCORE', box .. ':due', '-inf', now_ms, 'LIMIT', 0, most)
    if #lanes == 0 then
      lanes = redis.call('ZRANGEBYSCORE', box .. ':due', '(' .. (now_ms + furthest_ms), '+inf', 'LIMIT', 0, most)
    end
    for _, lane in ipairs(lanes) do
      local name = redis.call('ZRANGE', box .. ':lane:' .. lane, 0, 0)[1]
      if name then
        redis.call('ZADD', box .. ':due', now_ms + claim_ms, lane)
        local notice, tries = prefix .. ':{' .. name .. '}:notice', 0
        local facts = redis.call('HGETALL', notice)
        if #facts > 0 then tries = redis.call('HINCRBY', notice, 'tries ' .. per_outlet[i], 1) end
        taken[#taken + 1] = {lane, name, tries, facts}
      else
        redis.call('ZREM', box .. ':due', lane)
      end
    end
  end
  local oldest = redis.call('ZRANGE', box .. ':rows', 0, 0, 'WITHSCORES')
  local lost = redis.call('HGET', box .. ':lost', 'ends')
  local abandoned = redis.call('ZCARD', box .. ':abandoned')
  answer[#answer + 1] = {redis.call('ZCARD', box .. ':rows'), oldest[2] or '', lost or 0, abandoned, taken}
end
return answer
