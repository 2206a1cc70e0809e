-- Give a running stream back to the queue: its owner hands it over, or a reaper takes it from a lost one.
local format = stream.format
--- include newer
--- include closed
if stream.status ~= 'running' then return {'stale', stream.epoch} end
--- include fenced
--- include clock
-- What ended the attempt, for operators; the state keeps the last ones.
local how = owner == '' and 'lost' or 'handed_over'
local past = redis.call('HGET', state, 'past') or ''
past = string.sub(past .. epoch .. ' ' .. how .. ' ' .. now_ms .. ' ' .. stream.owner .. '\n', -2000)
-- Clearing the owner fences the lost worker now, before the next claim raises the epoch.
redis.call('HSET', state, 'status', 'queued', 'owner', '', 'queued_ms', now_ms, 'lease_until_ms', 0, 'past', past)
return {'ok'}
