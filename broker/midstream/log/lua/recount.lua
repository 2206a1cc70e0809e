-- Count what is left of an ended stream by another time until which it is kept (PROTOCOL: Retention/Change).
--- include clock
--- include store
store(stored, -bytes, tonumber(ended_ms), tonumber(ttl_ms_before))
store(stored, bytes, tonumber(ended_ms), tonumber(ttl_ms))
return {'ok'}
