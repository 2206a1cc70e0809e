-- Name the outlets of one kind that this process knows, and forget those of the kind that nobody has named for
-- `forget_ms`: the operator has taken them away (PROTOCOL: Ends/Outlets). `named` are the outlets with what shared/outbox
-- reads of each, without the time.
--- include clock
for i = named_first, #named, 2 do
  redis.call('HSET', outlets, named[i], named[i + 1] .. ' ' .. string.format('%.0f', now_ms))
end
local rows, forgotten = redis.call('HGETALL', outlets), {}
for i = 1, #rows, 2 do
  local named_ms = string.match(rows[i + 1], '(%d+)$')
  if string.sub(rows[i], 1, #kind) == kind and now_ms - named_ms > tonumber(forget_ms) then
    redis.call('HDEL', outlets, rows[i])
    forgotten[#forgotten + 1] = rows[i]
  end
end
if #named >= named_first then redis.call('PEXPIRE', outlets, keep_ms) end
return {'ok', forgotten}
