-- A tenant's places: `live` is the set of its streams that run, with the time until which each counts. `places` holds
-- for each of them its bytes and the other sets in which it counts, and in the field '' the sum of these bytes.
local function free_place(live, places, name)
  redis.call('ZREM', live, name)
  local place = redis.call('HGET', places, name)
  if place then
    local bytes, others = string.match(place, '^(%d+)(.*)$')
    redis.call('HDEL', places, name)
    redis.call('HINCRBY', places, '', -bytes)
    for other in string.gmatch(others, '%S+') do redis.call('ZREM', other, name) end
  end
  if redis.call('ZCARD', live) == 0 then redis.call('DEL', places) end
end
