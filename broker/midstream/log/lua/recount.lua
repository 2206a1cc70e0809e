-- Count what is left of an ended stream by another time until which it is kept (PROTOCOL: Retention/Change).
--- include clock
--- include store
--- include note_end
store(stored, -bytes, tonumber(ended_ms), tonumber(ttl_ms_before))
store(stored, bytes, tonumber(ended_ms), tonumber(ttl_ms))
note_end(stream_name, ended_ms + ttl_ms - now_ms)
return {'ok'}
