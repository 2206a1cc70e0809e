-- Count a start, and create its stream unless a limit refuses it: `admit`, `watch` and `create` in one (PROTOCOL:
-- Create/Registered). A start that creates nothing is not counted, and no limit refuses it (PROTOCOL: Limits/Retried).
-- `StartStream.of` packs the owners, which are `owner_words` words, and then the state's fields.
--- include clock
local owners, owners_first, owners_last = words_of_both, words_of_both_first, words_of_both_first + tonumber(owner_words) - 1
local fields, fields_first = words_of_both, owners_last + 1
--- include admission
--- include creation
local answer, active = standing()
if answer then return {{'ok'}, 0, answer} end
local admitted = admission()
if admitted[1] ~= 'ok' then return {admitted} end
local is_watched_anew = redis.call('ZADD', due, 'NX', now_ms + delay_ms, stream_name)
return {admitted, is_watched_anew, creation(active)}
