-- What the log takes of the server's memory. It costs the same for any length; a server that does not tell says 0.
local log_bytes = tonumber(redis.pcall('MEMORY', 'USAGE', log)) or 0
