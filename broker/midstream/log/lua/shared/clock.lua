-- The server's time in ms. Leases and looks go by this clock alone (PROTOCOL: Lease/Clock).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
