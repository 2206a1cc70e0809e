-- Streams have ended: no reaper looks at them any more, and their places among what runs are free (PROTOCOL:
-- Limits/Generations). `places` holds, for each, its name, its tenant's set of what runs, and its slot in turn. A slot
-- holds the key of the user's set, where a user's limit counts the stream.
for i = places_first, #places, 3 do
  local name, tenant_live, slot = places[i], places[i + 1], places[i + 2]
  redis.call('ZREM', due, name)
  redis.call('ZREM', tenant_live, name)
  local user_live = redis.call('GET', slot)
  if user_live then
    redis.call('ZREM', user_live, name)
    redis.call('DEL', slot)
  end
end
return {'ok'}
