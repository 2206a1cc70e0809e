-- Streams have ended: no reaper looks at them any more, their places among what runs are free (PROTOCOL:
-- Limits/Generations), and what is left of them counts as stored (PROTOCOL: Limits/Stored). `streams` holds for each
-- its name, the keys of its tenant's live streams, places and stored bytes, and then how many bytes are left, the time
-- of its end, for how long it is kept after that, and the key of its state. Bytes below 0 are those of a stream that
-- was deleted. What a stream has cost is counted too (PROTOCOL: Money/Counted).
-- Those that look for streams read in the list `ended` which ones have changed (PROTOCOL: Operate/Facts).
-- What has ended is put into the outbox of each outlet of its tenant (PROTOCOL: Ends/Outbox).
--- include clock
--- include places
--- include outbox
--- include spend
--- include store
--- include note_end
for i = streams_first, #streams, 8 do
  local name, live, places, stored, bytes, ended_ms, ttl_ms, state = unpack(streams, i, i + 7)
  local last = redis.call('HMGET', state, 'status', 'followers')
  -- A start that created nothing leaves; the same start, sent twice, may have created the stream since.
  if last[1] ~= 'queued' and last[1] ~= 'running' then
    -- A stream is on the list until its end was noted, and so its bytes are added once. A start that is repeated puts
    -- an ended stream there again for a moment: hence the mark.
    local is_first = redis.call('ZREM', due, name) == 1
    if is_first and last[1] == 'ended' then is_first = redis.call('HSETNX', state, 'noted', 1) == 1 end
    -- Those that wait for it in its thread are looked at now (PROTOCOL: Threads/Active).
    for follower in string.gmatch(last[2] or '', '%S+') do redis.call('ZADD', due, 'XX', now_ms, follower) end
    free_place(live, places, name)
    if is_first and #outlet_rows > 0 then put_into_outbox(name) end
    bytes = tonumber(bytes)
    if bytes ~= 0 and is_first == (bytes > 0) then store(stored, bytes, tonumber(ended_ms), tonumber(ttl_ms)) end
    count_cost(state, prefix .. ':cost')
    if tonumber(ended_ms) > 0 then note_end(name, ended_ms + ttl_ms - now_ms) end
  end
end
return {'ok'}
