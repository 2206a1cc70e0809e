-- Put entries of a log that is brought in aside (PROTOCOL: Archive/Import). `rows` are id, time and content, in turn.
for i = rows_first, #rows, 3 do redis.call('XADD', staged, rows[i], rows[i + 1], rows[i + 2]) end
redis.call('PEXPIRE', staged, keep_ms)
return {'ok', redis.call('XLEN', staged)}
