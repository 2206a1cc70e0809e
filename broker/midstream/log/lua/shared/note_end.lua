local MORE_MS = 3600000

-- A user of an older `users.acl` may not write this list, and then streams end all the same: hence `pcall`.
local function note_end(name, left_ms)
  redis.pcall('XADD', ended, 'MAXLEN', '~', most_ended, '*', 'n', name)
  local kept_ms = redis.pcall('PTTL', ended)
  if type(kept_ms) == 'number' and kept_ms < left_ms then redis.pcall('PEXPIRE', ended, left_ms + MORE_MS) end
end
